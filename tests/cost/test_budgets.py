"""Budgets as users write them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.cost import Budget, full_cost, limit


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
