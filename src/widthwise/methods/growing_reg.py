"""Growing regularisation: units are chosen at the start, and fade under a growing penalty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Literal

from torch import nn

from widthwise.cost import Budget
from widthwise.graph import ChannelGraph
from widthwise.methods.base import Bench, Found
from widthwise.methods.searching import attached, decided
from widthwise.rewrites import Rewrite
from widthwise.search.handles import GrowingPenalty
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.scores.base import Score, require_score
from widthwise.search.search import Search


@dataclass(frozen=True, kw_only=True)
class GrowingRegSettings:
    """Wang et al., "Neural Pruning via Growing Regularization" (ICLR 2021), GReg-1."""

    name: Literal["growing_reg"] = "growing_reg"
    """Name of the method."""
    growth: float = 1e-4
    """What the penalty grows by."""
    grow_every: int = 5
    """Steps between two growths; 10 on CIFAR in the paper."""
    ceiling: float = 1.0
    """What the penalty grows to, in units of weight decay."""
    prune_threshold: float = 1e-2
    """Units whose weights are down to this share of their norm at the start count as removed."""
    warm_up: int = 0
    """Steps before the units are chosen, for a network that is not trained yet."""
    stop_limit: float = 0.0
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 100
    """Steps between two comparisons of the cost with the budget."""

    title: ClassVar[str] = "Growing regularisation"
    trains: ClassVar[bool] = True
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def handle(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        seed: int | None,
        score: Score | None = None,
    ) -> GrowingPenalty:
        """Take the weights of the network; see `Searching`.

        Args:
            graph: Trace of ``model``.
            model: The network; not changed.
            budgets: What the units that stay may cost.
            limits: What no plan may go below.
            seed: Not used: nothing is random.
            score: Which units go; L1 by default.

        Returns:
            The handle.
        """
        return GrowingPenalty(
            graph,
            model,
            budgets=budgets,
            limits=limits,
            growth=self.growth,
            grow_every=self.grow_every,
            ceiling=self.ceiling,
            prune_threshold=self.prune_threshold,
            warm_up=self.warm_up,
            score=score,
        )

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Search while the network trains, then cut; see `Method`."""
        return decided(self, bench, budget=budget, limits=limits)


def growing_reg(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    score: Score | None = None,
    growth: float = 1e-4,
    grow_every: int = 5,
    ceiling: float = 1.0,
    prune_threshold: float = 1e-2,
    warm_up: int = 0,
    stop_limit: float = 0.0,
    check_every: int = 100,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Search:
    """Growing regularisation: the units that a score lets go fade under a penalty that grows.

    Wang, Qin, Zhang, Fu, "Neural Pruning via Growing Regularization" (ICLR 2021, arXiv:2012.09243),
    the variant GReg-1. A score chooses at the first step (or after ``warm_up``) which units go,
    within the budget. From then on an l2 penalty on their weights grows by ``growth`` every
    ``grow_every`` steps, so that the network moves what they do to the others before they are cut.
    It starts from the weights it has, trained ones as published.

    Where we differ from it: the penalty is on everything that a unit has, what makes it, what reads
    it, its biases and normalisations, as Fang et al., "DepGraph" (CVPR 2023, arXiv:2301.12900), do
    with it; the paper's is on filters. It is taken as a proximal step after that of the optimizer,
    without momentum. Units are chosen over all layers together under a budget, where the paper sets
    a ratio for each layer. The search may end when units are small, before the ceiling.

    Args:
        model: Any network that traces, with trained weights. Changed in place.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        score: Which units go, such as ``ww.scores.Taylor(...)``; ``ww.scores.L1()`` by default.
        growth: What the penalty grows by. The paper's delta lambda.
        grow_every: Steps between two growths. The paper's K_u, 5 on ImageNet and 10 on CIFAR.
        ceiling: What it grows to, in units of weight decay. The paper's tau.
        prune_threshold: Units whose weights are down to this share of their norm at the start count
            as removed when the cost is compared with the budget.
        warm_up: Steps before the units are chosen, for a network that is not trained yet.
        stop_limit: `Search.done` when the cost is above the budget by at most this fraction of the
            full cost.
        check_every: Steps between two comparisons with the budget.
        min_width: Channels that every axis keeps at least.
        min_keep: Fraction of its units that every axis keeps at least; or one per name or glob of
            axes.
        round_to: Channels of a narrowed axis are a multiple of this; see `widthwise.plan`.
        include: Axes that may shrink, by name or glob; all that are not frozen by default.
        exclude: Axes that may not.

    Returns:
        The search, attached.

    Raises:
        TraceError: If the network cannot be traced.
        BudgetError: If no plan within the limits meets the budget.
        SearchError: If nothing that could go is trained.
        ConfigError: If a hyper-parameter is out of range.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
        >>> search = growing_reg(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     net(torch.ones(4, 3, 8, 8)).square().mean().backward()
        ...     optimizer.step()
        ...     search.step(optimizer)
        >>> small, plan = search.finish(optimizer)
        >>> plan.widths, plan.macs() / plan.full_macs
        ({'0': 4, '2': 2}, 0.5)
    """
    settings = GrowingRegSettings(
        growth=growth,
        grow_every=grow_every,
        ceiling=ceiling,
        prune_threshold=prune_threshold,
        warm_up=warm_up,
        stop_limit=stop_limit,
        check_every=check_every,
    )
    limits = Limits(
        min_width=min_width,
        min_keep=min_keep,
        round_to=round_to,
        include=include,
        exclude=exclude,
    )
    if score is not None:
        require_score(score)
    return attached(
        settings,
        model,
        example_inputs,
        budget=budget,
        limits=limits,
        handle=partial(settings.handle, score=score),
    )
