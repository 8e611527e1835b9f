"""Published search methods, each a choice of weights, score, prox and budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import nn

from widthwise.cost import Budget
from widthwise.graph import trace
from widthwise.search.limits import Limits
from widthwise.search.pressure import Pressure
from widthwise.search.prox import Prox, SoftThreshold
from widthwise.search.scores.latent import LatentMagnitude
from widthwise.search.search import Search
from widthwise.search.weights import HyperConv


def dhp(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    sparsity: float = 1e-4,
    prune_threshold: float = 5e-3,
    stop_limit: float = 0.05,
    check_every: int = 100,
    embedding_dim: int = 8,
    min_width: int = 4,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: int = 1,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    prox: Prox | None = None,
    seed: int = 1,
) -> Search:
    """Differentiable meta pruning via hypernetworks: widths learned by sparse latent vectors.

    Li, Gu, Zhang, Van Gool, Timofte, "DHP: Differentiable Meta Pruning via HyperNetworks" (ECCV
    2020, arXiv:2003.13683). Every unit of the network has a latent; the weights between two layers
    are generated from the latents of their units; a soft threshold after each optimizer step drives
    latents to zero, and units with small latents are cut.

    Attaches to ``model`` at once. Create the optimizer afterwards, from ``model.parameters()``.
    Generated weights start from a new random initialisation, as published: a search does not
    continue from the weights the network had.

    Defaults are those of the released code. Where we differ from it: the budget is met exactly by
    bisection over the sorted latents when the search is finished, not only within ``stop_limit``;
    MACs count convolutions and linear layers only; every axis that is not frozen may shrink, the
    classifier's input included, unless `exclude` names it; an axis that no generated weight touches
    keeps its full width.

    Args:
        model: Any network that traces. Its weights must be real tensors on one device.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        sparsity: Strength of the regulariser; each step moves every latent by ``sparsity * lr``.
            The paper's lambda.
        prune_threshold: Latents below this magnitude count as removed when the cost is compared
            with the budget. The paper's tau.
        stop_limit: `Search.done` when the cost is above the budget by at most this fraction of the
            full cost. The published runs use 0.01 and 0.02.
        check_every: Steps between two comparisons with the budget.
        embedding_dim: Length of the embedding of a pair of units. The paper's m.
        min_width: Units that every axis keeps at least.
        min_keep: Fraction of its units that every axis keeps at least; or one per name or glob of
            axes, such as ``{"fc*": 0.4}``.
        round_to: Every width is a multiple of this; 1 in the paper.
        include: Axes that may shrink; all that are not frozen by default.
        exclude: Axes that may not.
        prox: What shrinks the latents; `SoftThreshold` by default. ``GroupSoftThreshold()`` is the
            released code's ``l2`` option.
        seed: Seed of latents and hypernetwork. The same on every process of a distributed run.

    Returns:
        The search, attached.

    Raises:
        TraceError: If the network cannot be traced.
        BudgetError: If no plan within the limits meets the budget.
        SearchError: If no weight can be generated, or a weight is already parametrized.
        ConfigError: If a hyper-parameter is out of range.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
        >>> search = dhp(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     net(torch.ones(4, 3, 8, 8)).square().mean().backward()
        ...     optimizer.step()
        ...     search.step(optimizer)
        >>> small, plan = search.finish()
        >>> plan.widths, plan.macs() / plan.full_macs
        ({'0': 4, '2': 2}, 0.5)
    """
    graph = trace(model, example_inputs)
    limits = Limits(
        min_width=min_width,
        min_keep=min_keep,
        round_to=round_to,
        include=include,
        exclude=exclude,
    )
    searched = np.zeros(graph.unit_count, dtype=bool)
    for axis in limits.axes(graph):
        searched[axis.units] = True
    weights = HyperConv(graph, model, searched=searched, embedding_dim=embedding_dim, seed=seed)
    return Search(
        graph,
        weights=weights,
        score=LatentMagnitude(latents=weights.latents),
        prox=SoftThreshold() if prox is None else prox,
        budgets=list(budget) if isinstance(budget, Sequence) else [budget],
        pressure=Pressure(
            sparsity=sparsity,
            prune_threshold=prune_threshold,
            stop_limit=stop_limit,
            check_every=check_every,
        ),
        limits=limits,
        method="dhp",
        seed=seed,
    )
