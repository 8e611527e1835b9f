"""What a budget is: a quantity, and how much of it a plan may cost."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from widthwise.arguments import described
from widthwise.errors import BudgetError
from widthwise.graph import ChannelGraph


class Budget(Protocol):
    """One quantity and its limit."""

    name: ClassVar[str]
    """Key of the quantity, such as ``macs``."""
    title: ClassVar[str]
    """What people call it, such as ``MACs``."""

    @property
    def amount(self) -> float | str:
        """The limit as the user wrote it."""
        ...

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Return what the plan that keeps these units costs; ``kept`` is bool, ``[units]``."""
        ...


def budgets_of(budget: Budget | Sequence[Budget]) -> list[Budget]:
    """Read one budget, or several.

    Args:
        budget: As users pass it.

    Returns:
        All of them.

    Raises:
        BudgetError: If something is no budget, or there is none.
    """
    budgets = [budget] if isinstance(budget, str) or not isinstance(budget, Sequence) else budget
    for each in budgets:
        if not (hasattr(each, "amount") and hasattr(each, "cost")) or inspect.isclass(each):
            wanted = each if isinstance(each, int | float | str) else 0.5
            raise BudgetError(
                f"{described(each)} is not a budget: it does not say of what.\n"
                f"Hint: write `budget=ww.Macs({wanted!r})`, or `ww.Params`, `ww.Memory`, "
                "`ww.Latency`, or a list."
            )
    if not budgets:
        raise BudgetError(
            "There is no budget in the list.\nHint: write `budget=ww.Macs(0.5)`, or a list of some."
        )
    return list(budgets)


def full_cost(budget: Budget, graph: ChannelGraph) -> float:
    """Return what the full network costs, in the unit of the budget."""
    return budget.cost(graph, graph.everything)


def limit(budget: Budget, graph: ChannelGraph, *, full: ChannelGraph | None = None) -> float:
    """Return the most a plan may cost, in the unit of the budget.

    Args:
        budget: A fraction or an absolute amount.
        graph: The network that is narrowed.
        full: The user's own network, where ``graph`` is that of a rewritten one: fractions refer to
            it. The same as ``graph`` by default.

    Returns:
        The limit.
    """
    amount = read_amount(budget)
    if not amount.is_share:
        return amount.number
    return amount.number * full_cost(budget, graph if full is None else full)


@dataclass(frozen=True)
class Amount:
    """How much of a quantity."""

    number: float
    is_share: bool
    """Whether it is a share of what the full network costs."""


def read_amount(budget: Budget) -> Amount:
    """Read the amount of a budget: at most 1 is a fraction, above 1 an absolute value.

    A quantity that may be below 1 has a unit, such as ``ms``, and an absolute value is written
    with it.

    Args:
        budget: Its amount is a number or text such as ``"50%"`` or ``"3e8"``.

    Returns:
        The amount.

    Raises:
        BudgetError: If it is not one.
    """
    unit = getattr(budget, "unit", "")
    text = str(budget.amount).strip()
    percent = text.endswith("%")
    absolute = bool(unit) and text.endswith(unit)
    try:
        number = float(text.removesuffix("%" if percent else unit)) / (100 if percent else 1)
    except ValueError:
        number = math.nan
    is_share = not absolute and number <= 1
    if (
        not math.isfinite(number)
        or number <= 0
        or (percent and number > 1)
        or (unit and not absolute and not is_share)
    ):
        example = f"such as 2.5{unit}" if unit else "above 1 such as 300e6"
        raise BudgetError(
            f"`{budget.amount!r}` is not a budget for {budget.name}.\n"
            "Expected: a fraction in (0, 1] such as 0.5, a percentage such as '50%', "
            f"or an absolute value {example}."
        )
    return Amount(number, is_share)
