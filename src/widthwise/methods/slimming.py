"""Network slimming: widths from the scales of normalisations, trained sparse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from widthwise.cost import Budget
from widthwise.graph import ChannelGraph
from widthwise.methods.base import Bench, Found
from widthwise.methods.searching import attached, decided
from widthwise.rewrites import Rewrite
from widthwise.search.handles import Gammas
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.search import Search


@dataclass(frozen=True, kw_only=True)
class SlimmingSettings:
    """Liu et al., "Learning Efficient ConvNets through Network Slimming" (ICCV 2017)."""

    name: Literal["slimming"] = "slimming"
    """Name of the method."""
    sparsity: float = 1e-3
    """Every step pulls the scales towards zero by this times the learning rate: ten times the
    published strength, 1e-4, which goes through a momentum of 0.9."""
    prune_threshold: float = 1e-2
    """Units with smaller scales count as removed when the cost is compared with the budget."""
    stop_limit: float = 0.0
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 100
    """Steps between two comparisons of the cost with the budget."""

    title: ClassVar[str] = "Slimming"
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
    ) -> Gammas:
        """Take the scales of the network's normalisations; see `Searching`."""
        return Gammas(
            graph,
            model,
            limits=limits,
            sparsity=self.sparsity,
            prune_threshold=self.prune_threshold,
        )

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Search while the network trains, then cut; see `Method`."""
        return decided(self, bench, budget=budget, limits=limits)


def slimming(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    sparsity: float = 1e-3,
    prune_threshold: float = 1e-2,
    stop_limit: float = 0.0,
    check_every: int = 100,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Search:
    """Network slimming: an l1 penalty on the scales of normalisations says which units go.

    Liu, Li, Shen, Huang, Yan, Zhang, "Learning Efficient Convolutional Networks through Network
    Slimming" (ICCV 2017, arXiv:1708.06519). The network trains as it is, from the weights it has;
    after every optimizer step all scales are pulled towards zero, and at the end the units with the
    smallest ones are cut.

    Where we differ from it: the penalty is a soft threshold after the optimizer's step, where the
    paper adds a subgradient to it, so that scales become zero and stay there, whatever the
    optimizer, its momentum, clipping or number format. The published strength of 1e-4 (1e-5 for
    ResNet and DenseNet) is multiplied by 10 in the momentum of 0.9; ``sparsity`` is not. Any
    normalisation with scales counts. A unit that several normalisations see, as in residual
    stages, is as important as its largest scale, where the paper selects channels in each branch.
    Scales start from what they are, not from 0.5. Axes without a scale stay whole. The budget is
    met exactly, by ranking all units together, floors respected.

    Args:
        model: Any network that traces, trained or fresh. Changed in place.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        sparsity: Each step moves every scale by ``sparsity * lr`` towards zero.
        prune_threshold: Scales below this magnitude count as removed when the cost is compared with
            the budget.
        stop_limit: `Search.done` when the cost is above the budget by at most this fraction of the
            full cost. The paper trains for a set number of epochs.
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
        SearchError: If no axis has scales.
        ConfigError: If a hyper-parameter is out of range.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 2, 3))
        >>> search = slimming(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        >>> for _ in range(3):
        ...     optimizer.zero_grad()
        ...     net(torch.ones(4, 3, 8, 8)).square().mean().backward()
        ...     optimizer.step()
        ...     search.step(optimizer)
        >>> small, plan = search.finish(optimizer)
        >>> plan.widths, plan.macs() / plan.full_macs
        ({'0': 4, '2': 2}, 0.5)
    """
    settings = SlimmingSettings(
        sparsity=sparsity,
        prune_threshold=prune_threshold,
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
    return attached(settings, model, example_inputs, budget=budget, limits=limits)
