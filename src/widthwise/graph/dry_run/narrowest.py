"""The narrowest network: one unit of every free axis, or as few as it runs with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

import numpy as np

from widthwise.graph.axes import Units
from widthwise.graph.dry_run.assumptions import At, dims_of
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.rehearsal import Breakdown
from widthwise.graph.dry_run.study import Study
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import seen_from

_MOST_ROUNDS = 12
"""Of raising floors; after that, they are what the first trial kept."""

Needs: TypeAlias = dict[frozenset[str], int]
"""How many units the axes of a group need, by their names."""


def with_floors(study: Study, attempt: Attempt) -> Attempt:
    """Find the fewest units of each axis with which the network still runs.

    The trials remove up to half of every axis. Code may refuse less (``8 // (c // 2)``), so the
    narrowest network is run once, too. Its calls are not compared with those of the full one: at
    width one, PyTorch leaves out copies. Where it breaks down, the axes at that place, and at the
    same place of its siblings, get a floor of two units, then four, up to what the first trial
    kept.

    Args:
        study: The network.
        attempt: One that did not fail.

    Returns:
        The attempt, with the floors noted on its axes.
    """
    kept = attempt.trials[0]
    most = {
        name: int(kept[axis.units].sum())
        for name, axis in attempt.units.axes.items()
        if axis.frozen is None
    }

    def breakdown(needs: Needs) -> Breakdown | None:
        return study.breakdown(attempt, _mask(attempt.units, _floors(needs, most)))

    needs: Needs = {}
    rounds = 0
    while (found := breakdown(needs)) is not None:
        rounds += 1
        floors = _floors(needs, most)
        groups = _first_suspects(attempt, found, {n for n in most if floors[n] < most[n]})
        if not groups or rounds > _MOST_ROUNDS:
            needs = {frozenset([name]): count for name, count in most.items()}
            break
        needs.update({group: 2 * needs.get(group, 1) for group in groups})
    else:
        # What was raised with the cause, or before it was found, goes down again.
        for group in list(needs):
            fewer = {other: count for other, count in needs.items() if other != group}
            if breakdown(fewer) is None:
                needs = fewer
    if not needs:
        return attempt
    floors = _floors(needs, most)
    noted = {
        name: replace(axis, floor=floors.get(name, 1)) for name, axis in attempt.units.axes.items()
    }
    return replace(attempt, units=replace(attempt.units, axes=noted))


def _floors(needs: Needs, most: Mapping[str, int]) -> dict[str, int]:
    floors = dict.fromkeys(most, 1)
    for group, count in needs.items():
        for name in group:
            floors[name] = max(floors[name], min(count, most[name]))
    return floors


def _mask(units: Units, floors: Mapping[str, int]) -> np.ndarray:
    kept = np.ones(units.count, bool)
    for name, floor in floors.items():
        own = units.axes[name].units
        kept[own.start + floor : own.stop] = False
    return kept


def _first_suspects(attempt: Attempt, breakdown: Breakdown, low: set[str]) -> list[frozenset[str]]:
    """Return the axes in each dim that is nearest to a breakdown, where some are still low."""
    owner = np.full(attempt.units.count, -1)
    names = list(attempt.units.axes)
    for number, axis in enumerate(attempt.units.axes.values()):
        owner[axis.units] = number
    for dims in _suspects(attempt, breakdown):
        groups: list[frozenset[str]] = []
        for at in dict.fromkeys(dims):
            everywhere = [at.ids(call) for call in attempt.recording.siblings.everywhere(at.place)]
            owners = {
                number
                for ids in everywhere
                if ids is not None
                for number in np.unique(owner[attempt.units.of_id[ids]]).tolist()
            }
            group = frozenset(names[number] for number in owners if number >= 0) & low
            if group and group not in groups:
                groups.append(group)
        if groups:
            return groups
    return []


def _suspects(attempt: Attempt, breakdown: Breakdown) -> Iterator[list[At]]:
    """Yield dims around a breakdown: of the last call, of its module, of those around it."""
    calls = attempt.recording.calls(breakdown.number)
    last = calls[min(breakdown.call, len(calls) - 1)]
    yield [at for at in _dims([last]) if at.of_output]
    yield _dims(call for call in calls if call.path == breakdown.path)
    path = breakdown.path
    while True:
        yield _dims(call for call in calls if seen_from(call.path, path) is not None)
        if not path:
            return
        path = path.rpartition(".")[0]


def _dims(calls: Iterable[Call]) -> list[At]:
    return [at for call in calls for at, _ in dims_of(call)]
