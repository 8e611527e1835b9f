"""What might make a call run that failed in the dry run, most likely first."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice

import numpy as np
from torch import nn

from widthwise.graph.axes import OUTPUT
from widthwise.graph.dry_run.assumptions import (
    Assumption,
    Assumptions,
    At,
    Divide,
    Equal,
    Reading,
    dims_of,
)
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.attributes import (
    elsewhere,
    follows_of,
    is_count,
    modules_around,
    parts_of,
    split_later,
)
from widthwise.graph.dry_run.rehearsal import Failure
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import seen_from
from widthwise.graph.recording.siblings import anchor_of, place_from
from widthwise.rules import Ids

_MOST_PARTNERS = 4
_MOST_PARTS = 12
"""Numbers add up in many ways by chance, and every one costs a dry run."""
SOON = 4
"""Calls that code which raised was about to make."""


def remedies(attempt: Attempt, modules: Mapping[str, nn.Module]) -> Iterator[Sequence[Assumption]]:
    """Propose assumptions under which a failed call may run.

    Args:
        attempt: One that failed; otherwise there is nothing to propose.
        modules: Modules of the full network by path.

    Yields:
        Assumptions to add together.
    """
    failure = attempt.failure
    if failure is None:
        return
    calls, assumptions = attempt.calls, attempt.assumptions
    call = calls[failure.call]
    blamed, narrowed = _blamed(attempt, failure)
    around = list(modules_around(call, failure, modules))
    follows = list(follows_of(blamed, narrowed, around))
    constants: list[Assumption] = [*follows, *_meet_again(call, narrowed, around, assumptions)]
    yield from ([one] for one in constants)
    if len(constants) > 1:
        yield constants
    yield from ([one] for one in elsewhere(follows, narrowed))
    yield from split_later(calls[failure.call :], narrowed, around)
    yield from islice(parts_of(narrowed, around), _MOST_PARTS)
    yield from ([equal] for equal in _equals(attempt, narrowed, _partners(attempt, failure)))
    reading = assumptions.readings.get(call.place, 0)
    yield from ([Reading(call.place, n)] for n in range(call.options) if n != reading)
    for divide in _divides(narrowed, around):
        yield [divide]
        for follow in follows:
            if follow.sources[0] == divide.source:
                yield [follow, divide]


def refinements(attempt: Attempt, tried: Collection[Reading], least: int) -> Iterator[Reading]:
    """Propose other readings of calls that run, but leave nothing or a single unit to narrow.

    Args:
        attempt: One that did not fail.
        tried: What has been tried already.
        least: Number of stuck channels from which on a call is worth a try.

    Yields:
        Readings to try; one is worth keeping if more units come out.
    """
    units, readings = attempt.units, attempt.assumptions.readings
    stuck, channels = np.zeros(units.count, bool), np.zeros(units.count, np.int64)
    for axis in units.axes.values():
        stuck[axis.units] = axis.width == 1 or axis.frozen not in (None, OUTPUT)
        channels[axis.units] = axis.unit_size
    seen = set()
    for call in attempt.recording.ledger.calls:
        if call.options < 2 or call.place in seen:
            continue
        given = {ids.tobytes() for label in call.inputs for ids in label if ids is not None}
        made = [
            units.of_id[ids]
            for label in call.outputs
            for ids in label
            # The channels that a convolution makes are given too, in its weight.
            if ids is not None and (call.is_convolution or ids.tobytes() not in given)
        ]
        worth = channels[np.unique(np.concatenate(made))].sum() >= least if made else False
        if worth and all(stuck[group].all() for group in made):
            seen.add(call.place)
            for number in range(call.options):
                reading = Reading(call.place, number)
                if number != readings.get(call.place, 0) and reading not in tried:
                    yield reading


def _blamed(attempt: Attempt, failure: Failure) -> tuple[Sequence[Call], list[tuple[At, Ids]]]:
    """Return the failed call, or the calls that failed code was about to make; and narrow dims."""
    calls = attempt.calls
    # A reshape that copies checks its sizes before it copies; they are the next call's.
    path = calls[failure.call].path
    blamed: Sequence[Call] = []
    narrowed: list[tuple[At, Ids]] = []
    for count in (2, SOON) if failure.before else (1,):
        blamed = calls[failure.call : failure.call + count]
        dims = [found for each in blamed if each.path == path for found in dims_of(each)]
        narrowed = [(at, ids) for at, ids in dims if attempt.narrow_ids[ids].any()]
        if narrowed:
            break
    return blamed, narrowed


def _meet_again(
    call: Call,
    narrowed: Sequence[tuple[At, Ids]],
    around: Sequence[tuple[str, nn.Module]],
    assumptions: Assumptions,
) -> Iterator[Equal]:
    """Yield dims that equal an attribute which follows another dim: both keep equal counts."""
    for follow in assumptions.follows:
        values = [
            vars(module).get(follow.attribute) for below, module in around if below == follow.module
        ]
        source = follow.sources[0]
        if follow.place.kind != call.place.kind or len(follow.sources) > 1 or not values:
            continue
        for at, ids in narrowed:
            if len(ids) == values[0] and at != source and isinstance(source, At):
                yield Equal(at, source)
                break


def _divides(
    narrowed: Sequence[tuple[At, Ids]], around: Sequence[tuple[str, nn.Module]]
) -> Iterator[Divide]:
    """Yield numbers around a call, such as a number of heads, that may have to divide a count."""
    seen: set[tuple[int, int]] = set()
    for at, ids in narrowed:
        for _, module in around:
            for value in vars(module).values():
                if not is_count(value) or not 1 < value < len(ids) or len(ids) % value:
                    continue
                if (value, len(ids)) not in seen:
                    seen.add((value, len(ids)))
                    yield Divide(at, value)


def _partners(attempt: Attempt, failure: Failure) -> Iterator[tuple[At, Ids]]:
    """Yield dims of what ran before a failed call: in its module, then in modules inside of it.

    The modules inside know the width of what the module is given (``b, c, h, w = x.shape``).
    """
    anchor = anchor_of(attempt.calls[failure.call])
    before = attempt.calls[: failure.call]
    for call in before:
        if anchor_of(call) == anchor:
            yield from dims_of(call)
    for call in reversed(before):
        if anchor_of(call) != anchor and seen_from(call.path, anchor) is not None:
            yield from dims_of(call, place_from(attempt.recording.ledger.anchors, call, anchor))


def _equals(
    attempt: Attempt, narrowed: Sequence[tuple[At, Ids]], partners: Iterable[tuple[At, Ids]]
) -> Iterator[Equal]:
    """Yield pairs of dims whose counts may have to be equal.

    Code that splits one width by another (``view(b, n, 3, heads, c // heads)`` with ``c`` the width
    of the module's input) needs both to keep equal counts.
    """
    others = list(partners)
    seen: set[bytes] = set()
    proposed = 0
    for at, ids in narrowed:
        own = attempt.units.of_id[ids]
        seen.add(own.tobytes())
        for partner, candidate in others:
            theirs = attempt.units.of_id[candidate]
            key = theirs.tobytes()
            longer, shorter = max(len(own), len(theirs)), min(len(own), len(theirs))
            if (
                key in seen
                or longer % shorter
                or shorter < 2
                or not attempt.narrow_ids[candidate].any()
            ):
                continue
            seen.add(key)
            if not set(own.tolist()).isdisjoint(theirs.tolist()):
                continue
            yield Equal(at, partner)
            proposed += 1
            if proposed >= _MOST_PARTNERS:
                return
