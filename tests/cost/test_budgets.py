"""Budgets as users write them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.cost import BUDGETS, COUNTED, Budget, costs_of, full_cost, limit


@pytest.fixture
def graph() -> ww.ChannelGraph:
    """A graph of two convolutions."""
    return ww.trace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3)), torch.zeros(1, 3, 8, 8))


@pytest.mark.parametrize(
    ("amount", "expected"), [(0.5, 6192), ("50%", 6192), ("0.5", 6192), (300, 300), ("3e2", 300)]
)
def test_fractions_percentages_and_absolute_values(
    graph: ww.ChannelGraph, amount: float | str, expected: float
) -> None:
    """At most 1 is a fraction of the full cost, a percent sign too, above 1 is absolute."""
    assert limit(ww.Macs(amount), graph) == expected


@pytest.mark.parametrize("amount", [0, -1, "half", "150%", float("nan"), float("inf"), ""])
@pytest.mark.parametrize("kind", [ww.Macs, ww.Params, ww.Memory])
def test_what_is_no_amount_is_refused(kind: type, amount: float | str) -> None:
    """Nonsense is refused when the budget is made, with examples of what is meant."""
    with pytest.raises(ww.errors.BudgetError, match="such as 300e6"):
        kind(amount)


def test_each_budget_counts_its_own(graph: ww.ChannelGraph) -> None:
    """MACs, parameters, and bytes of parameters and activations."""
    budgets: list[Budget] = [ww.Macs(1.0), ww.Params(1.0), ww.Memory(1.0)]
    outputs = 4 * (8 * 6 * 6 + 4 * 4 * 4)
    assert [full_cost(b, graph) for b in budgets] == [12384, 516, 516 * 4 + outputs]


def test_fractions_may_refer_to_another_network(graph: ww.ChannelGraph) -> None:
    """A fraction is one of the user's own network, an absolute amount is what it says."""
    wide = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 3))
    rewritten = ww.trace(wide, torch.zeros(1, 3, 8, 8))
    assert limit(ww.Macs(0.5), rewritten, full=graph) == 0.5 * graph.macs()
    assert limit(ww.Macs("100%"), rewritten, full=graph) == graph.macs()
    assert limit(ww.Macs(0.5), rewritten) == 0.5 * rewritten.macs()
    assert limit(ww.Params(300), rewritten, full=graph) == 300


def test_every_budget_is_registered_by_its_name(graph: ww.ChannelGraph) -> None:
    """The registry makes each budget from its name, and costs are told by the same names."""
    assert list(BUDGETS) == [*COUNTED, "latency"] == ["macs", "params", "memory", "latency"]
    assert all(kind.name == name and kind.title for name, kind in BUDGETS.items())
    found = costs_of(graph)
    assert found == {name: full_cost(kind(0.5), graph) for name, kind in COUNTED.items()}
    assert found["params"] == 516
