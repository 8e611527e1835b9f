"""Fade: the units that a loss needs least, for what they cost, fade while the network trains."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from torch import nn

from widthwise.cost import Budget
from widthwise.graph import ChannelGraph
from widthwise.methods.base import Bench, Found
from widthwise.methods.searching import attached, decided
from widthwise.rewrites import Rewrite
from widthwise.search.handles import Fading
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.search import Search


@dataclass(frozen=True, kw_only=True)
class FadeSettings:
    """Units fade that the loss needs least for what they cost; our own assembly of known parts."""

    name: Literal["fade"] = "fade"
    """Name of the method."""
    steps: int | None = None
    """Steps of training in which the budget is reached; all of the search, if not given."""
    warm_up: float = 0.3
    """Share of these steps before it is first chosen what goes."""
    memory: float = 0.99
    """Share of the mean of squared gradients that a step leaves; 1/(1 - memory) steps count."""
    stop_limit: float = 0.0
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 10
    """Steps between two comparisons of the cost with the budget."""

    title: ClassVar[str] = "Fade"
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
    ) -> Fading:
        """Make the gates; see `Searching`."""
        assert self.steps is not None
        return Fading(
            graph,
            model,
            budgets=budgets,
            limits=limits,
            steps=self.steps,
            warm_up=self.warm_up,
            memory=self.memory,
        )

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Search while the network trains, then cut; see `Method`."""
        steps = bench.steps if self.steps is None else self.steps
        settings = replace(self, steps=steps)
        return decided(settings, bench, budget=budget, limits=limits, ends_after=steps)


def fade(
    model: nn.Module,
    example_inputs: Any,
    *,
    budget: Budget | Sequence[Budget],
    steps: int,
    warm_up: float = 0.3,
    memory: float = 0.99,
    stop_limit: float = 0.0,
    check_every: int = 10,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Search:
    """Fade: while the network trains, the units that it needs least, for what they cost, fade.

    Every unit has a gate on the weights that read it, 1 at first. The square of the loss's gradient
    by a gate, averaged over steps, tells what would be lost with the unit; that over what the unit
    costs, by exact marginal costs, tells which ones go under the budget: the criterion of Liu et
    al., "Group Fisher Pruning for Practical Network Compression" (ICML 2021, arXiv:2108.00708).
    Gates of units that go close in a straight line while training goes on, and the choice is
    reviewed on the way: what turns out to be needed comes back. After ``steps`` steps the gates are
    0 or 1, so the cut changes nothing. Not published in this form; `docs/how_it_works.md` compares
    it with the methods it is made of.

    It starts from the weights the network has, fresh or trained ones, and adds one number per unit.

    Args:
        model: Any network that traces. Changed in place: weights that are gated are parametrized
            until the end.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        budget: What the result may cost at most, such as ``ww.Macs(0.5)``; a list for several.
        steps: Steps of training in which the budget is reached, such as those of a fifth of all
            epochs.
        warm_up: Share of these steps before it is first chosen what goes.
        memory: Share of the mean of squared gradients that a step leaves.
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
        BudgetError: If no plan within the limits meets the budget.
        SearchError: If nothing can have a gate.
        ConfigError: If a hyper-parameter is out of range.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 3))
        >>> search = fade(net, torch.zeros(1, 3, 8, 8), budget=ww.Macs(0.5), steps=10)
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
        >>> for _ in range(10):
        ...     optimizer.zero_grad()
        ...     net(torch.ones(4, 3, 8, 8)).square().mean().backward()
        ...     optimizer.step()
        ...     search.step(optimizer)
        >>> search.done
        True
        >>> small, plan = search.finish(optimizer)
        >>> plan.widths, plan.macs() / plan.full_macs
        ({'0': 4, '2': 2}, 0.5)
    """
    settings = FadeSettings(
        steps=steps,
        warm_up=warm_up,
        memory=memory,
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
    return attached(settings, model, example_inputs, budget=budget, limits=limits, ends_after=steps)
