"""What a unit more or less costs, where a plan stands."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from widthwise.cost import Budget, limit
from widthwise.graph import ChannelGraph
from widthwise.search.limits import Limits


def marginal_costs(
    graph: ChannelGraph, kept: np.ndarray, budgets: Sequence[Budget], limits: Limits
) -> np.ndarray:
    """Compute what the cost falls by with each unit, as a share of the budgets, all added up.

    MACs of neighbouring layers depend on one another, so this is true only near the plan. Costs are
    measured over a step of the axis, such as 8 channels, since times come in steps.

    Args:
        graph: The network.
        kept: The units of the plan, bool, shape ``[u]``.
        budgets: Their quantities count, each as a share of its limit.
        limits: Which axes may be narrowed, and in which steps.

    Returns:
        Float64, shape ``[u]``: the same for all units of an axis; 0 where none may be removed.
    """
    bounds = [max(limit(budget, graph), 1e-30) for budget in budgets]

    def share(mask: np.ndarray) -> float:
        return sum(b.cost(graph, mask) / most for b, most in zip(budgets, bounds, strict=True))

    here, costs = share(kept), np.zeros(graph.unit_count)
    for axis in limits.axes(graph):
        width = int(kept[axis.units].sum())
        fewer = [each for each in limits.widths(axis) if each < width]
        # At its floor, an axis could only grow.
        more = [each for each in limits.widths(axis) if each > width]
        if not (fewer or more):
            continue
        other = max(fewer) if fewer else min(more)
        trial = kept.copy()
        trial[axis.units] = False
        trial[axis.units.start : axis.units.start + other] = True
        costs[axis.units] = (here - share(trial)) / (width - other)
    return costs
