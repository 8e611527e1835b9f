"""Budgets that are predicted are held against what a plan takes, and the plan is made again."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from widthwise.cost import Budget, Latency
from widthwise.errors import BudgetError
from widthwise.graph import ChannelGraph

_ROUNDS = 3


def met_as_measured(
    graph: ChannelGraph,
    budgets: Sequence[Budget],
    choose: Callable[[Sequence[Budget]], np.ndarray],
    *,
    full: ChannelGraph | None = None,
) -> np.ndarray:
    """Choose units, and choose again while what is chosen takes longer than it may.

    Args:
        graph: The network.
        budgets: As users ask for them.
        choose: Returns the units that budgets leave.
        full: The user's own network, where ``graph`` is that of a rewritten one.

    Returns:
        Which units stay. Shape ``[units]``, bool. After three more rounds, or where no tighter
        budget can be met, the quickest that was found: the plan says what it takes.

    Raises:
        BudgetError: If the budgets cannot be met as they are predicted.
    """
    kept = choose(budgets)
    timed = [each for each in budgets if isinstance(each, Latency)]
    found = [kept]
    for _ in range(_ROUNDS if timed else 0):
        corrected = [_corrected(each, graph, kept, full) for each in budgets]
        if all(new is None for new in corrected):
            return kept
        tighter = [old if new is None else new for old, new in zip(budgets, corrected, strict=True)]
        try:
            kept = choose(tighter)
        except BudgetError:
            break
        found.append(kept)
    return min(
        found, key=lambda mask: max((_excess(each, graph, mask, full) for each in timed), default=0)
    )


def _corrected(
    budget: Budget, graph: ChannelGraph, kept: np.ndarray, full: ChannelGraph | None
) -> Budget | None:
    return budget.tighter(graph, kept, full=full) if isinstance(budget, Latency) else None


def _excess(
    budget: Latency, graph: ChannelGraph, kept: np.ndarray, full: ChannelGraph | None
) -> float:
    found = budget.measured(graph, kept, full=full)
    return float(found["measured"] / found["bound"])
