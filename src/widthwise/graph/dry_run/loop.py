"""Repeat dry runs until every plan runs: find a remedy for what fails, or freeze it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from widthwise import errors
from widthwise.graph.axes import Units
from widthwise.graph.dry_run.assumptions import Freeze, Reading
from widthwise.graph.dry_run.rehearsal import Success
from widthwise.graph.dry_run.remedies import SOON, dims_of, refinements, remedies
from widthwise.graph.dry_run.study import Study, Stumble
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import seen_from
from widthwise.graph.recording.siblings import place_from
from widthwise.rules.labels import all_ids

_MOST_REFINEMENTS = 4
"""Each takes several dry runs, and the first ones are by far the most likely to help."""
_WORTH_REFINING = 0.01
"""Share of all channels that must be stuck at one place."""


def settle(study: Study) -> tuple[Units, bool]:
    """Find assumptions under which narrow networks run.

    Every round makes a call run that failed, or freezes ids, so the rounds end.

    Args:
        study: The trace; its assumptions grow.

    Returns:
        Units and axes, and whether the network computes with numbers that depend on widths.

    Raises:
        TraceError: If the network does not run the same way twice.
    """
    units, success = _settled(study)
    tried: set[Reading] = set()
    while len(tried) < _MOST_REFINEMENTS:
        before = study.assumptions
        channels = sum(axis.width * axis.unit_size for axis in units.axes.values())
        least = int(_WORTH_REFINING * channels)
        proposals = refinements(study.ledger.calls, units, before.readings, tried, least)
        reading = next(proposals, None)
        if reading is None:
            break
        tried.add(reading)
        study.assume(before.plus(reading))
        finer, verdict = _settled(study)
        if _free(finer) > _free(units):
            units, success = finer, verdict
        else:
            study.assume(before)
    return units, success.rescales


def _settled(study: Study) -> tuple[Units, Success]:
    """Mend or freeze what fails until nothing does."""
    units = study.units()
    outcome = _trials(study, units)
    while isinstance(outcome, Stumble):
        if not (better := _remedied(study, units, outcome)):
            _freeze(study, units, outcome)
        units = study.units()
        outcome = better or _trials(study, units)
    return units, outcome


def _free(units: Units) -> int:
    """Return how many units may go: every axis keeps one."""
    return sum(axis.width - 1 for axis in units.axes.values() if axis.frozen is None)


def _trial_masks(units: Units) -> list[np.ndarray]:
    """Return two masks that narrow every free axis, each by another amount where it can.

    One removes the last units and one the first, by other amounts: what happens to suit one width,
    or a slice at constant places, must not pass.
    """
    masks = [np.ones(units.count, bool), np.ones(units.count, bool)]
    for number, axis in enumerate(units.axes.values()):
        if axis.frozen is None and axis.width > 1:
            most = max(axis.width // 2, 1)
            first, stop = axis.units.start, axis.units.stop
            masks[0][stop - 1 - number % most : stop] = False
            masks[1][first : first + 1 + (number + 1) % most] = False
    return masks


def _trials(study: Study, units: Units) -> Success | Stumble:
    rescales = False
    for trial, kept in enumerate(_trial_masks(units)):
        outcome = study.dry_run(units, kept, trial)
        if isinstance(outcome, Stumble):
            return outcome
        rescales |= outcome.rescales
    return Success(rescales)


def _remedied(study: Study, units: Units, stumble: Stumble) -> Success | Stumble | None:
    """Try what might help, keep the first thing that gets further, and return how far."""
    before = study.assumptions
    kept_ids = _trial_masks(units)[stumble.trial][units.of_id]
    modules = dict(study.passes[0].twin.named_modules())
    calls = study.calls(stumble.number)
    least = 0
    if stumble.failure.emptied:
        # Freezing what was emptied is sure to help: what ties more than that together is no remedy.
        study.assume(before.plus(Freeze(calls[stumble.failure.call].place, "")))
        least = _free(study.units())
    for proposal in remedies(
        calls, stumble.failure, units, kept_ids, modules, study.ledger.anchors, before
    ):
        study.assume(before.plus(*proposal))
        remedied = study.units()
        if _free(remedied) < least:
            continue
        outcome = _trials(study, remedied)
        if isinstance(outcome, Success) or outcome.progress > stumble.progress:
            return outcome
    study.assume(before)
    return None


def _freeze(study: Study, units: Units, stumble: Stumble) -> None:
    """Freeze what the failed call touches, or, if that is frozen already, what led to it."""
    failure = stumble.failure
    calls = study.calls(stumble.number)
    call, path = calls[failure.call], failure.path
    where = f"`{call.name}` in " + (f"`{path}`" if path else "the outermost forward")
    reason = f"{where}: {failure.message}"
    free = np.zeros(units.count, bool)
    for axis in units.axes.values():
        free[axis.units] = axis.frozen is None

    def freeze(blamed: Sequence[Call], around: str) -> bool:
        if not any(
            bool(free[units.of_id[ids]].any())
            for each in blamed
            for label in (*each.inputs, *each.outputs)
            for ids in all_ids(label)
        ):
            return False
        # What modules inside do is frozen where this one does it: they may serve elsewhere, too.
        places = [place_from(study.ledger.anchors, each, around) for each in blamed]
        verdicts = [Freeze(place, reason) for place in places]
        study.assume(study.assumptions.plus(*verdicts))
        return True

    # The call itself; then what has the size that it took for constant; then what the code was
    # about to call; then everything so far in its module; then in the modules around it.
    if freeze([call], path) or _freeze_size(study, units, stumble, reason):
        return
    if failure.before and any(freeze([each], path) for each in calls[failure.call :][:SOON]):
        return
    while True:
        so_far = calls[: failure.call + 1]
        if freeze([each for each in so_far if seen_from(each.path, path) is not None], path):
            return
        if not path:
            break
        path = path.rpartition(".")[0]
    # Nothing that ran so far is free, and yet the narrow run differs: freeze the rest.
    if not freeze(calls, path):
        raise errors.unstable_forward(study.passes[0].twin, reason)


def _freeze_size(study: Study, units: Units, stumble: Stumble, reason: str) -> bool:
    """Freeze the last dim before a failure whose size went where another was expected."""
    failure = stumble.failure
    if failure.size is None:
        return False
    kept_ids = _trial_masks(units)[stumble.trial][units.of_id]
    for call in reversed(study.calls(stumble.number)[: failure.call]):
        if seen_from(call.path, failure.path) is None:
            continue
        for at, ids in dims_of(call, place_from(study.ledger.anchors, call, failure.path)):
            if (len(ids), int(kept_ids[ids].sum())) == failure.size:
                study.assume(study.assumptions.plus(Freeze(at, reason)))
                return True
    return False
