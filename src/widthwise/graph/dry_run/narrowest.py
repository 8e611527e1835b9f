"""The narrowest network: one unit of every free axis, or as few as it runs with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from widthwise.graph.dry_run.attempt import Attempt, trial_masks
from widthwise.graph.dry_run.rehearsal import Breakdown
from widthwise.graph.dry_run.study import Study
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import seen_from
from widthwise.rules.labels import Label, all_ids

_MOST_ROUNDS = 12
"""Of raising floors; after that, they are what the first trial kept."""
_MOST_SUSPECTS = 8
"""Axes that are lowered again one by one, and not all together."""


def with_floors(study: Study, attempt: Attempt) -> Attempt:
    """Find the fewest units of each axis with which the network still runs.

    The trials remove up to half of every axis. Code may refuse less (``8 // (c // 2)``), so the
    narrowest network is run once, too. Its calls are not compared with those of the full one: at
    width one, PyTorch leaves out copies. Where it breaks down, the axes at that place get a floor
    of two units, then four, up to what the first trial kept.

    Args:
        study: The network.
        attempt: One that did not fail.

    Returns:
        The attempt, with the floors noted on its axes.
    """
    axes = attempt.units.axes
    kept = trial_masks(attempt.units)[0]
    most = {name: int(kept[axis.units].sum()) for name, axis in axes.items() if axis.frozen is None}
    floors = dict.fromkeys(most, 1)
    raised: list[list[str]] = []
    while (breakdown := _breakdown(study, attempt, floors)) is not None:
        low = {name for name, floor in floors.items() if floor < most[name]}
        group = _first_suspects(attempt, breakdown, low)
        if not group or len(raised) >= _MOST_ROUNDS:
            floors = most
            break
        floors.update({name: min(2 * floors[name], most[name]) for name in group})
        raised.append(group)
    if not raised:
        return attempt
    # What was raised with the cause, or before it was found, goes down again.
    for group in raised:
        for names in [[name] for name in group] if len(group) <= _MOST_SUSPECTS else [group]:
            lower = {**floors, **dict.fromkeys(names, 1)}
            if lower != floors and _breakdown(study, attempt, lower) is None:
                floors = lower
    noted = {name: replace(axis, floor=floors.get(name, 1)) for name, axis in axes.items()}
    return replace(attempt, units=replace(attempt.units, axes=noted))


def _breakdown(study: Study, attempt: Attempt, floors: Mapping[str, int]) -> Breakdown | None:
    kept = np.ones(attempt.units.count, bool)
    for name, floor in floors.items():
        units = attempt.units.axes[name].units
        kept[units.start + floor : units.stop] = False
    return study.breakdown(attempt, kept)


def _first_suspects(attempt: Attempt, breakdown: Breakdown, low: set[str]) -> list[str]:
    """Return those of some axes that are nearest to a breakdown."""
    units = attempt.units
    for labels in _suspects(attempt, breakdown):
        near = {
            number
            for label in labels
            for ids in all_ids(label)
            for number in np.unique(units.of_id[ids]).tolist()
        }
        found = [
            name
            for name in low
            if not near.isdisjoint(range(*units.axes[name].units.indices(units.count)))
        ]
        if found:
            return sorted(found)
    return []


def _suspects(attempt: Attempt, breakdown: Breakdown) -> Iterator[Iterable[Label]]:
    """Yield labels around a breakdown: of the last call, of its module, of those around it."""
    calls = attempt.recording.calls(breakdown.number)
    yield calls[min(breakdown.call, len(calls) - 1)].outputs
    yield _labels(call for call in calls if call.path == breakdown.path)
    path = breakdown.path
    while True:
        yield _labels(call for call in calls if seen_from(call.path, path) is not None)
        if not path:
            return
        path = path.rpartition(".")[0]


def _labels(calls: Iterable[Call]) -> list[Label]:
    return [label for call in calls for label in (*call.inputs, *call.outputs)]
