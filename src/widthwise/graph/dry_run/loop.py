"""Repeat dry runs until every plan runs: find a remedy for what fails, or freeze it."""

from __future__ import annotations

from widthwise import errors
from widthwise.graph.dry_run.assumptions import Assumptions, Freeze, Reading
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.freezing import freeze, reason_of
from widthwise.graph.dry_run.narrowest import with_floors
from widthwise.graph.dry_run.remedies import refinements, remedies
from widthwise.graph.dry_run.study import Study

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
        finer = _settled(study, best.assumptions.plus(reading))
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
    least = 0
    if attempt.failure is not None and attempt.failure.emptied:
        # Freezing what was emptied is sure to help: what ties more than that together is no remedy.
        emptied = Freeze(attempt.calls[attempt.failure.call].place, "")
        least = study.solved(attempt.assumptions.plus(emptied)).room
    for proposal in remedies(attempt, study.modules):
        remedied = study.solved(attempt.assumptions.plus(*proposal))
        if remedied.room < least:
            continue
        remedied = study.tried(remedied)
        if remedied.gets_further_than(attempt):
            return remedied
    return None


def _frozen(study: Study, attempt: Attempt) -> Attempt:
    verdicts = freeze(attempt)
    if not verdicts:
        raise errors.unstable_forward(study.passes[0].twin, reason_of(attempt))
    return study.under(attempt.assumptions.plus(*verdicts))
