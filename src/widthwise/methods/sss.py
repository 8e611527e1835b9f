"""SSS: units and whole residual blocks leave by gates that go to zero."""

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
from widthwise.search.handles import Gates
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.search import Search


@dataclass(frozen=True, kw_only=True)
class SssSettings:
    """Huang and Wang, "Data-Driven Sparse Structure Selection" (ECCV 2018)."""

    name: Literal["sss"] = "sss"
    """Name of the method."""
    sparsity: float = 1e-3
    """Weight of the absolute values of all gates in the loss. The paper's gamma."""
    momentum: float = 0.9
    """Of the gates, which have an optimizer of their own."""
    units: bool = True
    """Whether every unit has a gate: a neuron of the paper; whole groups, where there are some."""
    blocks: bool = True
    """Whether every residual block has a gate."""
    stop_limit: float = 0.0
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 100
    """Steps between two comparisons of the cost with the budget."""

    title: ClassVar[str] = "SSS"
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
    ) -> Gates:
        """Make the gates; see `Searching`."""
        return Gates(
            graph,
            model,
            budgets=budgets,
            limits=limits,
            sparsity=self.sparsity,
            momentum=self.momentum,
            units=self.units,
            blocks=self.blocks,
        )

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Search while the network trains, then cut; see `Method`."""
        return decided(self, bench, budget=budget, limits=limits)


def sss(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    sparsity: float = 1e-3,
    momentum: float = 0.9,
    units: bool = True,
    blocks: bool = True,
    stop_limit: float = 0.0,
    check_every: int = 100,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Search:
    """Sparse structure selection: units, groups and residual blocks have gates that go to zero.

    Huang, Wang, "Data-Driven Sparse Structure Selection for Deep Neural Networks" (ECCV 2018,
    arXiv:1707.01213). Every unit and every residual block is multiplied by a gate, 1 at first. The
    gates are trained with the weights, by accelerated proximal gradient on the loss plus
    ``sparsity`` times their absolute values. Blocks whose gate is zero are dropped, and the units
    with the smallest gates are cut from what is left, to the budget. The plan lists the blocks in
    `Plan.before`, as `widthwise.rewrites.Drop`.

    Where we differ from it: units and blocks may have gates at once. The gate of a unit multiplies
    the weights that read it, instead of its output, so that the network's own forward stays and a
    gate of zero means what a cut means. That of a block multiplies scale and shift of its last
    normalisation. The budget is met: by narrowing, and where that cannot, by dropping the blocks
    with the smallest gates; the paper trains at several strengths and takes what comes. The search
    starts from the weights the network has. Of the groups of a convolution whole ones go, as there.

    Args:
        model: Any network that traces, trained or fresh. Changed in place: weights that are gated
            are parametrized until the end.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        sparsity: Weight of the absolute values of all gates. The paper's gamma.
        momentum: Of the gates; the optimizer's own, and its weight decay, do not touch them.
        units: Whether units have gates. Without, no axis is narrowed.
        blocks: Whether residual blocks have. Without, none is dropped.
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
        The search, attached. Create the optimizer afterwards, from ``model.parameters()``.

    Raises:
        TraceError: If the network cannot be traced.
        BudgetError: If neither narrowing nor dropping blocks meets the budget.
        SearchError: If nothing can have a gate.
        ConfigError: If a hyper-parameter is out of range.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
        >>> search = sss(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5))
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
    settings = SssSettings(
        sparsity=sparsity,
        momentum=momentum,
        units=units,
        blocks=blocks,
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
