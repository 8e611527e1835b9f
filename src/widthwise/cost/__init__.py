"""What a plan costs, and how much it may cost: one budget per file."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

from widthwise.cost.base import Budget, budgets_of, full_cost, limit
from widthwise.cost.latency import Latency
from widthwise.cost.macs import Macs
from widthwise.cost.memory import Memory
from widthwise.cost.params import Params
from widthwise.graph import ChannelGraph

COUNTED: Mapping[str, type[Macs | Params | Memory]] = MappingProxyType(
    {kind.name: kind for kind in (Macs, Params, Memory)}
)
"""Every budget whose quantity is counted, without a machine, by the name that plans know it by."""

BUDGETS: Mapping[str, type[Macs | Params | Memory | Latency]] = MappingProxyType(
    {**COUNTED, Latency.name: Latency}
)
"""Every budget by the name of its quantity, as recipes, the command line and plans know it."""


def read_budget(name: str, amount: float | str) -> Budget:
    """Make a budget from what a command line or a recipe says.

    Args:
        name: A key of `BUDGETS`.
        amount: Its limit, such as ``0.5``, ``50%``, ``300e6`` or ``2.5ms``. A bare number is no
            milliseconds here: 0.5 is half of whatever is counted or measured.

    Returns:
        The budget.

    Raises:
        BudgetError: If that is no limit.
    """
    return Latency.read(str(amount)) if name == Latency.name else BUDGETS[name](amount)


def costs_of(graph: ChannelGraph, kept: np.ndarray | None = None) -> dict[str, float]:
    """Count every quantity that needs no measuring, for one input.

    Args:
        graph: The network.
        kept: Which units stay, bool, shape ``[units]``; all of them by default.

    Returns:
        A cost per quantity, by the names of `COUNTED`.
    """
    kept = graph.everything if kept is None else kept
    return {name: kind("100%").cost(graph, kept) for name, kind in COUNTED.items()}


__all__ = [
    "BUDGETS",
    "COUNTED",
    "Budget",
    "Latency",
    "Macs",
    "Memory",
    "Params",
    "budgets_of",
    "costs_of",
    "full_cost",
    "limit",
    "read_budget",
]
