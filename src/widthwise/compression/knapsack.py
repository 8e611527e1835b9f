"""Widths that cost the least damage within a budget, from what each axis alone costs."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence

import numpy as np

from widthwise.cost import Budget, limit
from widthwise.graph import ChannelGraph
from widthwise.search.limits import Limits
from widthwise.search.measuring import met_as_measured
from widthwise.search.planning import require_reachable
from widthwise.search.scores.reconstruction import Removal

_AHEAD = (1, 2, 4, 8, 16)
"""Steps that are weighed as one: a first one that costs much may open cheap ones."""


def least_damage(
    graph: ChannelGraph,
    removals: Mapping[str, Removal],
    budgets: Sequence[Budget],
    limits: Limits,
) -> np.ndarray:
    """Choose the width of every axis.

    Damage is taken to add up over axes. Starting from the full network, that axis is narrowed which
    loses least per cost saved, until all budgets are met; then what still fits is put back. Costs
    are exact at every step: what narrowing an axis saves depends on the widths of its neighbours.

    Args:
        graph: The network.
        removals: In which order the units of an axis go, and what is lost on the way, by name.
        budgets: All of them are met.
        limits: Floors, alignment and choice of axes.

    Returns:
        Which units stay. Shape ``[units]``, bool.

    Raises:
        BudgetError: If that cannot be done.
        ConfigError: If a name matches no axis.
    """

    def choose(each: Sequence[Budget]) -> np.ndarray:
        require_reachable(graph, each, limits)
        return _Selection(graph, removals, each, limits).run()

    return met_as_measured(graph, budgets, choose)


class _Selection:
    def __init__(
        self,
        graph: ChannelGraph,
        removals: Mapping[str, Removal],
        budgets: Sequence[Budget],
        limits: Limits,
    ) -> None:
        self._graph, self._removals, self._budgets = graph, removals, budgets
        self._bounds = [limit(budget, graph) for budget in budgets]
        self._axes = {
            axis.name: axis for axis in limits.axes(graph) if len(limits.widths(axis)) > 1
        }
        self._widths = {name: limits.widths(axis) for name, axis in self._axes.items()}
        self._at = dict.fromkeys(self._axes, 0)
        self._kept = graph.everything.copy()

    def run(self) -> np.ndarray:
        costs = self._costs(self._kept)
        taken: list[tuple[str, int]] = []
        # Damage per saving: neighbours that have become narrower leave less to save, so that what
        # was found before is a bound from below, and most need not be looked at again.
        queue = [(self._best(name, costs)[0], name) for name in self._axes]
        heapq.heapify(queue)
        while not self._met(costs):
            _, name = heapq.heappop(queue)
            ratio, steps = self._best(name, costs)
            if queue and ratio > queue[0][0]:
                heapq.heappush(queue, (ratio, name))
                continue
            if not steps:
                # Nothing of this axis is left; a plan exists, so another one has more to give.
                continue
            taken.append((name, steps))
            self._at[name] += steps
            self._kept = self._with(name, self._at[name])
            costs = self._costs(self._kept)
            heapq.heappush(queue, (self._best(name, costs)[0], name))
        self._put_back(taken)
        return self._kept

    def _put_back(self, taken: Sequence[tuple[str, int]]) -> None:
        full: set[str] = set()
        for name, steps in reversed(taken):
            for _ in range(steps):
                if name in full:
                    break
                trial = self._with(name, self._at[name] - 1)
                if self._met(self._costs(trial)):
                    self._at[name] -= 1
                    self._kept = trial
                else:
                    full.add(name)

    def _with(self, name: str, at: int) -> np.ndarray:
        axis = self._axes[name]
        kept = self._kept.copy()
        kept[axis.units] = True
        gone = self._removals[name].order[: axis.width - self._widths[name][at]]
        kept[axis.units.start + gone] = False
        return kept

    def _costs(self, kept: np.ndarray) -> np.ndarray:
        return np.array([budget.cost(self._graph, kept) for budget in self._budgets], float)

    def _met(self, costs: np.ndarray) -> bool:
        return bool((costs <= np.array(self._bounds)).all())

    def _best(self, name: str, costs: np.ndarray) -> tuple[float, int]:
        """Return the least damage per saving that an axis offers, and for how many steps."""
        widths, at, best = self._widths[name], self._at[name], (np.inf, 0)
        damage, width = self._removals[name].damage, self._axes[name].width
        unmet = costs > np.array(self._bounds)
        for steps in _AHEAD:
            if at + steps >= len(widths):
                break
            saved = costs - self._costs(self._with(name, at + steps))
            share = float((saved / np.array(self._bounds))[unmet].sum())
            lost = damage[width - widths[at + steps]] - damage[width - widths[at]]
            ratio = lost / share if share > 0 else np.inf
            if ratio < best[0]:
                best = (ratio, steps)
        return best
