"""Budgets: what a plan must cost at most, as a fraction of the full cost or absolutely."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from widthwise.errors import BudgetError
from widthwise.graph import ChannelGraph


class Budget(Protocol):
    """One quantity and its limit."""

    name: ClassVar[str]

    @property
    def amount(self) -> float | str:
        """The limit as the user wrote it."""
        ...

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> int:
        """Return what the plan that keeps these units costs; ``kept`` is bool, ``[units]``."""
        ...


@dataclass(frozen=True)
class Macs:
    """At most so many multiply-accumulates of convolutions and linear layers, for one input.

    Args:
        amount: A fraction of the full network's MACs (``0.5`` or ``"50%"``), or their number.

    Raises:
        BudgetError: If the amount is neither.

    Example:
        >>> Macs(0.5), Macs("50%"), Macs(300e6)
        (Macs(amount=0.5), Macs(amount='50%'), Macs(amount=300000000.0))
    """

    name: ClassVar[str] = "macs"
    amount: float | str

    def __post_init__(self) -> None:
        _parse(self)

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> int:
        """Return the MACs of a plan."""
        return graph.macs(kept)


@dataclass(frozen=True)
class Params:
    """At most so many parameters.

    Args:
        amount: A fraction of the full network's parameters, or their number.

    Raises:
        BudgetError: If the amount is neither.
    """

    name: ClassVar[str] = "params"
    amount: float | str

    def __post_init__(self) -> None:
        _parse(self)

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> int:
        """Return the parameters of a plan."""
        return graph.params(kept)


@dataclass(frozen=True)
class Memory:
    """At most so many bytes of parameters and of activations for one input.

    Activations are all that operators write, as a training step holds them; see
    `ChannelGraph.activation_bytes`.

    Args:
        amount: A fraction of the full network's bytes, or their number.

    Raises:
        BudgetError: If the amount is neither.
    """

    name: ClassVar[str] = "memory"
    amount: float | str

    def __post_init__(self) -> None:
        _parse(self)

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> int:
        """Return the bytes of a plan."""
        return graph.parameter_bytes(kept) + graph.activation_bytes(kept)


def full_cost(budget: Budget, graph: ChannelGraph) -> int:
    """Return what the full network costs, in the unit of the budget."""
    return budget.cost(graph, graph.everything)


def limit(budget: Budget, graph: ChannelGraph) -> float:
    """Return the most a plan may cost, in the unit of the budget."""
    number = _parse(budget)
    return number * full_cost(budget, graph) if number <= 1 else number


def _parse(budget: Budget) -> float:
    """Read an amount: at most 1 is a fraction, above 1 an absolute value."""
    text = str(budget.amount).strip()
    percent = text.endswith("%")
    try:
        number = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        number = math.nan
    if not math.isfinite(number) or number <= 0 or (percent and number > 1):
        raise BudgetError(
            f"`{budget.amount!r}` is not a budget for {budget.name}.\n"
            "Expected: a fraction in (0, 1] such as 0.5, a percentage such as '50%', "
            "or an absolute value above 1 such as 300e6."
        )
    return number
