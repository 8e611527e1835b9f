"""DHP: widths learned by sparse latent vectors while the network trains."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from torch import nn

from widthwise.arguments import network_in
from widthwise.cost import Budget
from widthwise.graph import ChannelGraph
from widthwise.methods.base import Bench, Found
from widthwise.methods.searching import attached, decided
from widthwise.rewrites import Rewrite
from widthwise.search.handles import Latents
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.prox import Prox
from widthwise.search.search import Search

LINE = "ww.methods.dhp(model, example_inputs, budget=ww.Macs(0.5))"
"""How a search is attached, for errors."""
_TRIED_OUT = 10
"""Batches that normalisations of a new network may have seen, of somebody who tried it out."""


@dataclass(frozen=True, kw_only=True)
class DhpSettings:
    """Li et al., "DHP: Differentiable Meta Pruning via HyperNetworks" (ECCV 2020)."""

    name: Literal["dhp"] = "dhp"
    """Name of the method."""
    sparsity: float = 1e-4
    """Every step pulls the latents towards zero by this times the learning rate."""
    steps: int | None = None
    """Steps in which the budget is reached: the pull is set to that, and `sparsity` not used."""
    prune_threshold: float = 5e-3
    """Units with latents below this count as removed when the cost is compared with the budget."""
    stop_limit: float = 0.05
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 100
    """Steps between two comparisons of the cost with the budget."""
    embedding_dim: int = 8
    """Length of the embedding of a pair of units."""

    title: ClassVar[str] = "DHP"
    trains: ClassVar[bool] = True
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = False
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def handle(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        seed: int | None,
        prox: Prox | None = None,
    ) -> Latents:
        """Make the latents; see `Searching`.

        Args:
            graph: Trace of ``model``.
            model: The network; not changed.
            budgets: What is to be reached in ``steps``, if these are given.
            limits: What no plan may go below.
            seed: Seed of latents and hypernetwork; 1 by default.
            prox: What shrinks the latents; soft thresholding by default.

        Returns:
            The handle.
        """
        return Latents(
            graph,
            model,
            limits=limits,
            steps=self.steps,
            budgets=budgets,
            sparsity=self.sparsity,
            prune_threshold=self.prune_threshold,
            embedding_dim=self.embedding_dim,
            prox=prox,
            seed=1 if seed is None else seed,
        )

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Search while the network trains, then cut; see `Method`."""
        return decided(self, bench, budget=budget, limits=limits, seed=seed, ends_after=self.steps)


def dhp(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    sparsity: float = 1e-4,
    steps: int | None = None,
    prune_threshold: float = 5e-3,
    stop_limit: float = 0.05,
    check_every: int = 100,
    embedding_dim: int = 8,
    min_width: int = 4,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = 1,
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
    continue from the weights the network had. Where normalisations show that it was trained, a
    warning says so; `widthwise.compress` makes a trained network smaller.

    Defaults are those of the released code. Where we differ from it: the budget is met exactly by
    bisection over the sorted latents when the search is finished, not only within ``stop_limit``;
    MACs count what multiplies and adds, and nothing else; every axis that is not frozen may shrink,
    the classifier's input included, unless `exclude` names it; an axis that no generated weight
    touches keeps its full width.

    Args:
        model: Any network that traces. Its weights must be real tensors on one device.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        sparsity: Strength of the regulariser; each step moves every latent by ``sparsity * lr``.
            The paper's lambda.
        steps: Steps in which the budget is reached, so that a search has a length: how far a step
            moves the latents follows from what is left to do, and ``sparsity`` is not used. Not
            published.
        prune_threshold: Latents below this magnitude count as removed when the cost is compared
            with the budget. The paper's tau.
        stop_limit: `Search.done` when the cost is above the budget by at most this fraction of the
            full cost. The published runs use 0.01 and 0.02.
        check_every: Steps between two comparisons with the budget.
        embedding_dim: Length of the embedding of a pair of units. The paper's m.
        min_width: Channels that every axis keeps at least.
        min_keep: Fraction of its units that every axis keeps at least; or one per name or glob of
            axes, such as ``{"fc*": 0.4}``.
        round_to: Every width is a multiple of this; 1 in the paper.
        include: Axes that may shrink, by name or glob; all that are not frozen by default.
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
    limits = Limits(
        min_width=min_width,
        min_keep=min_keep,
        round_to=round_to,
        include=include,
        exclude=exclude,
    )
    settings = DhpSettings(
        sparsity=sparsity,
        steps=steps,
        prune_threshold=prune_threshold,
        stop_limit=stop_limit,
        check_every=check_every,
        embedding_dim=embedding_dim,
    )
    _warn_of_loss(network_in(model, LINE))
    return attached(
        settings,
        model,
        example_inputs,
        budget=budget,
        limits=limits,
        seed=seed,
        handle=partial(settings.handle, prox=prox),
        ends_after=steps,
    )


def _warn_of_loss(model: nn.Module) -> None:
    """Say that trained weights will be gone, where a network shows that it has some."""
    seen = max(
        (int(module.num_batches_tracked or 0) for module in _norms(model)),
        default=0,
    )
    if seen > _TRIED_OUT:
        warnings.warn(
            f"The search starts from new random weights, and this `{type(model).__name__}` has "
            f"trained ones: its normalisations have seen {seen:,} batches.\n"
            "Why: weights are generated from latents, as published.\n"
            "Hint: `ww.compress` makes a trained network smaller and keeps what it has learned. "
            "`search.abandon()` brings these weights back.",
            stacklevel=3,
        )


def _norms(model: nn.Module) -> Iterator[nn.modules.batchnorm._NormBase]:
    for module in model.modules():
        tracked = getattr(module, "num_batches_tracked", None)
        if isinstance(module, nn.modules.batchnorm._NormBase) and tracked is not None:
            if not tracked.is_meta:
                yield module
