"""What to freeze where no remedy helps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from widthwise.graph.dry_run.assumptions import Freeze, dims_of
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.remedies import SOON
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import seen_from
from widthwise.graph.recording.siblings import place_from
from widthwise.rules.labels import all_ids

_MOST_SUSPECTS = 4
"""Each costs as many dry runs as there are trials."""


def reason_of(attempt: Attempt) -> str:
    """Return what failed, where and how, in one line; empty if nothing did."""
    failure = attempt.failure
    if failure is None:
        return ""
    name = attempt.calls[failure.call].name
    where = f"`{failure.path}`" if failure.path else "the outermost forward"
    return f"`{name}` in {where}: {failure.message}"


def freeze(attempt: Attempt) -> list[Freeze]:
    """Choose what to freeze for a failure: the failed call, or what led to it.

    Args:
        attempt: One that failed.

    Returns:
        What to freeze; each of it freezes something that is free. Nothing if nothing is.
    """
    failure = attempt.failure
    if failure is None:
        return []
    calls, path, reason = attempt.calls, failure.path, reason_of(attempt)
    free = _free(attempt)

    def verdicts(blamed: Sequence[Call], around: str) -> list[Freeze]:
        if not any(
            bool(free[attempt.units.of_id[ids]].any())
            for each in blamed
            for label in (*each.inputs, *each.outputs)
            for ids in all_ids(label)
        ):
            return []
        # What modules inside do is frozen where this one does it: they may serve elsewhere, too.
        anchors = attempt.recording.ledger.anchors
        return [Freeze(place_from(anchors, each, around), reason) for each in blamed]

    # The call itself; then what has the size that it took for constant; then what the code was
    # about to call; then everything so far in its module; then in the modules around it.
    if found := verdicts([calls[failure.call]], path) or _by_size(attempt, reason):
        return found
    if failure.before:
        for each in calls[failure.call :][:SOON]:
            if found := verdicts([each], path):
                return found
    so_far = calls[: failure.call + 1]
    while True:
        inside = [each for each in so_far if seen_from(each.path, path) is not None]
        if found := verdicts(inside, path):
            return found
        if not path:
            # Nothing that ran so far is free, and yet the narrow run differs: the rest is left.
            return verdicts(calls, path)
        path = path.rpartition(".")[0]


def one_by_one(attempt: Attempt) -> list[Freeze]:
    """List what may be to blame alone: each dim of the failed call that trials narrow.

    Args:
        attempt: One that failed.

    Returns:
        A verdict per group of units; nothing where the call has but one, or more than a few.
    """
    failure = attempt.failure
    if failure is None:
        return []
    groups: dict[bytes, Freeze] = {}
    for at, ids in dims_of(attempt.calls[failure.call]):
        if attempt.narrow_ids[ids].any():
            units = np.unique(attempt.units.of_id[ids])
            groups.setdefault(units.tobytes(), Freeze(at, reason_of(attempt)))
    return list(groups.values()) if 1 < len(groups) <= _MOST_SUSPECTS else []


def _by_size(attempt: Attempt, reason: str) -> list[Freeze]:
    """Freeze the last dim before a failure whose size went where another was expected."""
    failure = attempt.failure
    if failure is None or failure.size is None:
        return []
    anchors = attempt.recording.ledger.anchors
    for call in reversed(attempt.calls[: failure.call]):
        if seen_from(call.path, failure.path) is None:
            continue
        for at, ids in dims_of(call, place_from(anchors, call, failure.path)):
            if (len(ids), int(attempt.kept_ids[ids].sum())) == failure.size:
                return [Freeze(at, reason)]
    return []


def _free(attempt: Attempt) -> np.ndarray:
    free = np.zeros(attempt.units.count, bool)
    for axis in attempt.units.axes.values():
        free[axis.units] = axis.frozen is None
    return free
