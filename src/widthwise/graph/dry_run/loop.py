"""Repeat dry runs until every plan runs: find a remedy for what fails, or freeze it."""

from __future__ import annotations

import numpy as np

from widthwise import errors
from widthwise.graph.dry_run.assumptions import Assumptions, Freeze, Reading
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.freezing import freeze, one_by_one, reason_of
from widthwise.graph.dry_run.narrowest import with_floors
from widthwise.graph.dry_run.remedies import refinements, remedies
from widthwise.graph.dry_run.study import Study
from widthwise.rules.labels import all_ids

_MOST_REFINEMENTS = 4
"""Each takes several dry runs, and the first ones are by far the most likely to help."""
_WORTH_REFINING = 0.01
"""Share of all channels that must be stuck at one place."""


def settle(study: Study) -> Attempt:
    """Find assumptions under which narrow networks run.

    Every round makes a call run that failed, or freezes ids, so the rounds end.

    Args:
        study: The network.

    Returns:
        The best attempt; it did not fail, and its axes know how narrow they may get.

    Raises:
        TraceError: If the network does not run the same way twice.
    """
    best = _settled(study, Assumptions())
    tried: set[Reading] = set()
    while len(tried) < _MOST_REFINEMENTS:
        channels = sum(axis.width * axis.unit_size for axis in best.units.axes.values())
        reading = next(refinements(best, tried, int(_WORTH_REFINING * channels)), None)
        if reading is None:
            break
        tried.add(reading)
        assumptions = best.assumptions.plus(reading)
        # Freezing leaves fewer units than there are now, and so does what mends a call, unless it
        # reads yet another one otherwise; no network of ours has needed that.
        if study.solved(assumptions).room <= best.room:
            continue
        finer = _settled(study, assumptions)
        if finer.room > best.room:
            best = finer
    return with_floors(study, best)


def _settled(study: Study, assumptions: Assumptions) -> Attempt:
    """Mend or freeze what fails until nothing does."""
    attempt = study.under(assumptions)
    while attempt.failure is not None:
        attempt = _remedied(study, attempt) or _frozen(study, attempt)
    return attempt


def _remedied(study: Study, attempt: Attempt) -> Attempt | None:
    """Try what might help, and return the first attempt that gets further."""
    least, last = 0, None
    if attempt.failure is not None and attempt.failure.emptied:
        # Freezing what was emptied is sure to help: what ties more than that together is no remedy.
        emptied = Freeze(attempt.calls[attempt.failure.call].place, "")
        least = study.solved(attempt.assumptions.plus(emptied)).room
    known = {attempt.signature}
    for proposal in remedies(attempt, study.modules):
        remedied = study.solved(attempt.assumptions.plus(*proposal))
        if remedied.room < least or remedied.signature in known:
            continue
        known.add(remedied.signature)
        remedied = study.tried(remedied, beyond=attempt)
        if remedied.gets_further_than(attempt):
            if not _leaves_one(attempt, remedied):
                return remedied
            last = last or remedied
    return last


def _leaves_one(attempt: Attempt, remedied: Attempt) -> bool:
    """Tell whether a remedy ties what the failed call takes along a dim into a single unit."""
    # What cannot be narrowed passes every dry run.
    failure = attempt.failure
    return failure is not None and any(
        attempt.narrow_ids[ids].any() and len(np.unique(remedied.units.of_id[ids])) == 1
        for label in attempt.calls[failure.call].inputs
        for ids in all_ids(label)
    )


def _frozen(study: Study, attempt: Attempt) -> Attempt:
    """Freeze what is to blame: one dim of the failed call if that helps, or all that led to it."""
    verdicts = freeze(attempt)
    if not verdicts:
        raise errors.unstable_forward(study.passes[0].twin, reason_of(attempt))
    alone = (
        study.tried(study.solved(attempt.assumptions.plus(verdict)), beyond=attempt)
        for verdict in one_by_one(attempt)
    )
    further = [each for each in alone if each.gets_further_than(attempt)]
    if further:
        return max(further, key=lambda each: (each.failure is None, each.room))
    return study.under(attempt.assumptions.plus(*verdicts))
