"""What methods that decide when training is over have in common: the training before."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn
from torch.optim import Optimizer

from widthwise.cost import Budget
from widthwise.graph import ChannelGraph
from widthwise.methods.base import Bench
from widthwise.methods.searching import traced
from widthwise.search.limits import Limits
from widthwise.search.planning import require_reachable


def trained(
    bench: Bench, *, budget: Sequence[Budget], limits: Limits, method: str
) -> tuple[nn.Module, ChannelGraph, Optimizer]:
    """Train the network of a bench as it is.

    Args:
        bench: What to work on.
        budget: What the result will have to meet: whether it can be is found out before training.
        limits: What no plan may go below.
        method: Name of what will decide, for errors.

    Returns:
        The trained network, its trace, and the optimizer it was trained by.

    Raises:
        BudgetError: If no plan within the limits meets the budget.
        TraceError: If the network cannot be traced.
    """
    network, graph = traced(bench.network(), bench.example, method=method)
    require_reachable(graph, budget, limits.on(graph, budget))
    optimizer = bench.train_plainly(network)
    return network, graph, optimizer
