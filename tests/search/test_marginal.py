"""What a unit costs where a plan stands."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

import widthwise as ww
from cases import every_case
from widthwise.search.limits import Limits
from widthwise.search.marginal import marginal_costs

IMAGE = torch.zeros(1, 3, 8, 8)


def chain() -> ww.ChannelGraph:
    """Axes of 6, 16 and 2 channels."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 16, 3), nn.Conv2d(16, 2, 1))
    return ww.trace(net, IMAGE)


def test_costs_are_what_the_budget_falls_by() -> None:
    """MACs of a chain, counted by hand, as shares of the budget."""
    graph = chain()
    costs = marginal_costs(graph, graph.everything, [ww.Macs(0.5)], Limits())
    most = 0.5 * graph.macs()
    first = 9 * 3 * 36 + 9 * 16 * 16
    second = 9 * 6 * 16 + 2 * 16
    np.testing.assert_allclose(costs[graph.axes["0"].units], first / most)
    np.testing.assert_allclose(costs[graph.axes["1"].units], second / most)
    assert (costs[graph.axes["2"].units] == 0).all(), "the output may not be narrowed"


def test_costs_depend_on_where_the_plan_stands() -> None:
    """Beside a neighbour of half the width, a unit costs what it costs there."""
    graph = chain()
    kept = graph.everything.copy()
    kept[graph.axes["1"].units.start + 8 : graph.axes["1"].units.stop] = False
    costs = marginal_costs(graph, kept, [ww.Macs(1.0)], Limits())
    alone = (9 * 3 * 36 + 9 * 8 * 16) / graph.macs()
    np.testing.assert_allclose(costs[graph.axes["0"].units], alone)


def test_budgets_add_up_and_floors_are_looked_at_from_below() -> None:
    """Two budgets are the sum of both; an axis that is down to its floor could grow."""
    graph = chain()
    limits = Limits(round_to=2, min_width=4)
    kept = graph.everything.copy()
    kept[graph.axes["0"].units.start + 4 : graph.axes["0"].units.stop] = False
    both = [ww.Macs(0.5), ww.Params(0.5)]
    apart = [marginal_costs(graph, kept, [each], limits) for each in both]
    together = marginal_costs(graph, kept, both, limits)
    np.testing.assert_allclose(together, sum(apart))
    assert (together[graph.axes["0"].units] > 0).all()


@every_case()
def test_costs_are_those_of_one_step_less(case) -> None:
    """On every kind of network: what one step of an axis saves, shared among its units."""
    graph = ww.trace(case.build(), case.example_inputs)
    limits = Limits(round_to=1)
    costs = marginal_costs(graph, graph.everything, [ww.Params(1.0)], limits)
    everything = graph.params()
    for axis in limits.axes(graph):
        if axis.width == 1:
            continue
        kept = graph.everything.copy()
        kept[axis.units.stop - 1] = False
        saved = everything - ww.Params(1.0).cost(graph, kept)
        np.testing.assert_allclose(costs[axis.units] * everything, saved)
