"""Random search: of many random widths at the same cost, those that hurt least."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.arguments import network_in
from widthwise.cost import Budget, budgets_of
from widthwise.errors import ConfigError
from widthwise.graph import ChannelGraph, trace
from widthwise.methods.afterwards import trained
from widthwise.methods.base import Bench, Found
from widthwise.network.batches import evaluating
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.planning import select
from widthwise.search.scores import L1
from widthwise.shrinking import carry_optimizer, shrink

Progress = Callable[[int, int], object]
"""Called as ``progress(candidate, candidates)`` before each one."""

_NORMS = (nn.modules.batchnorm._BatchNorm,)


@dataclass(frozen=True, kw_only=True)
class RandomSearchSettings:
    """Li et al., "Revisiting Random Channel Pruning" (CVPR 2022)."""

    name: Literal["random_search"] = "random_search"
    """Name of the method."""
    candidates: int = 50
    """How many random widths are tried."""
    least: float = 0.2
    """Keep ratios are drawn between this and 1, before all are scaled to the budget."""
    batches: int = 8
    """Training batches that candidates are judged on; half of them for batch normalisations."""

    title: ClassVar[str] = "Random search"
    trains: ClassVar[bool] = True
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def __post_init__(self) -> None:
        if self.candidates < 1:
            raise ConfigError(f"`candidates` must be at least 1, got {self.candidates!r}.")
        if not 0 < self.least <= 1:
            raise ConfigError(f"`least` must be above 0 and at most 1, got {self.least!r}.")
        if self.batches < 2:
            raise ConfigError(f"`batches` must be at least 2, got {self.batches!r}.")

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Train, try random widths, cut by the best; see `Method`."""
        network, graph, optimizer = trained(bench, budget=budget, limits=limits, method=self.name)
        small, plan = self.best(
            network,
            graph,
            loss=bench.loss,
            batches=[bench.batch(number) for number in range(self.batches)],
            budgets=budget,
            limits=limits,
            seed=seed,
            progress=lambda number, of: bench.says(number, of, "try random widths"),
        )
        carry_optimizer(optimizer, network, small, plan)
        return Found(network=small, plan=plan, optimizer=optimizer)

    def best(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        *,
        loss: Callable[[Any, Any], Tensor],
        batches: Sequence[tuple[Any, Any]],
        budgets: Sequence[Budget],
        limits: Limits,
        seed: int,
        progress: Progress | None = None,
    ) -> tuple[nn.Module, Plan]:
        """Cut a network by the best of many random widths; see `random_search`."""
        limits = limits.on(graph, budgets)
        ranks = L1()(graph)
        half = len(batches) // 2
        generator = np.random.default_rng(seed)
        losses: list[tuple[float, Plan]] = []
        for number in range(self.candidates):
            if progress is not None:
                progress(number, self.candidates)
            scores = _at_random(graph, ranks, self.least, generator)
            plan = Plan.of(
                graph,
                select(graph, scores, budgets, limits),
                budgets=budgets,
                method=self.name,
                seed=seed,
            )
            small = shrink(model, plan, verify=False)
            losses.append((_judge(small, loss, batches[:half], batches[half:]), plan))
        _, plan = min(losses, key=lambda each: each[0])
        return shrink(model, plan), plan


def random_search(
    model: nn.Module,
    example_inputs: Any,
    *,
    loss: Callable[[Any, Any], Tensor],
    batches: Iterable[tuple[Any, Any]],
    budget: Budget | Sequence[Budget],
    candidates: int = 50,
    least: float = 0.2,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[nn.Module, Plan]:
    """Try random widths at the same cost, and cut by those that hurt least: an honest control.

    Li, Adamczewski, Li, Gu, Timofte, Van Gool, "Revisiting Random Channel Pruning for Neural
    Network Compression" (CVPR 2022, arXiv:2205.05676). A keep ratio is drawn for every axis, all
    are scaled until the budget is met, and each axis keeps its units of largest L1 norm. What is
    left computes the statistics of its batch normalisations anew on half of the batches, and is
    judged by its loss on the others; nothing is trained.

    Args:
        model: A trained network; not changed.
        example_inputs: What it is called with.
        loss: Called as ``loss(network(inputs), target)``.
        batches: Training batches ``(inputs, target)``; at least two. They are kept in memory.
        budget: What the result may cost at most; a list for several.
        candidates: How many random widths are tried.
        least: Keep ratios are drawn between this and 1.
        min_width: Channels that every axis keeps at least.
        min_keep: Fraction of its units that every axis keeps at least; or one per name or glob.
        round_to: Channels of a narrowed axis are a multiple of this; see `widthwise.plan`.
        include: Axes that may shrink, by name or glob; all that are not frozen by default.
        exclude: Axes that may not.
        seed: Of the widths.
        progress: Called as ``progress(candidate, candidates)`` before each.

    Returns:
        The narrow network with the weights it has inherited, in the mode of ``model``, proven, and
        its plan. `widthwise.heal` repairs it, or training.

    Raises:
        TraceError: If the network cannot be traced.
        BudgetError: If no plan within the limits meets the budget.
        ConfigError: If a number is out of range, or there are fewer than two batches.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> batches = [(torch.randn(16, 4), torch.randint(2, (16,))) for _ in range(2)]
        >>> small, plan = random_search(net, batches[0][0], loss=nn.functional.cross_entropy,
        ...                             batches=batches, budget=ww.Macs(0.5), candidates=3)
        >>> plan.widths
        {'0': 4, '2': 2}
    """
    model = network_in(model, "ww.methods.random_search(model, example_inputs, ...)")
    given = list(batches)
    if len(given) < 2:
        raise ConfigError(
            f"`batches` holds {len(given)} batches, expected at least 2.\n"
            "Why: one half is for batch normalisations, and the other for the loss."
        )
    limits = Limits(
        min_width=min_width, min_keep=min_keep, round_to=round_to, include=include, exclude=exclude
    )
    settings = RandomSearchSettings(candidates=candidates, least=least)
    return settings.best(
        model,
        trace(model, example_inputs),
        loss=loss,
        batches=given,
        budgets=budgets_of(budget),
        limits=limits,
        seed=seed,
        progress=progress,
    )


def _at_random(
    graph: ChannelGraph, ranks: np.ndarray, least: float, generator: np.random.Generator
) -> np.ndarray:
    """Score units so that every threshold keeps shares of the axes in random proportions."""
    scores = np.zeros(graph.unit_count)
    for axis in graph.axes.values():
        order = np.argsort(-ranks[axis.units], kind="stable")
        share = generator.uniform(least, 1)
        scores[axis.units.start + order] = share * axis.width / np.arange(1, axis.width + 1)
    return scores


@torch.no_grad()
def _judge(
    small: nn.Module,
    loss: Callable[[Any, Any], Tensor],
    statistics: Sequence[tuple[Any, Any]],
    judged: Sequence[tuple[Any, Any]],
) -> float:
    """Return the mean loss with batch normalisations estimated anew; the network is changed."""
    first = next(small.parameters(), None)

    def made(inputs: Any) -> Any:
        given = Inputs.of(inputs)
        return (given if first is None else given.map(lambda t: t.to(first.device))).call(small)

    norms = [m for m in small.modules() if isinstance(m, _NORMS) and m.track_running_stats]
    with evaluating(small):
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        for inputs, _ in statistics:
            made(inputs)
        for norm in norms:
            norm.eval()
        losses = []
        for inputs, target in judged:
            outputs = made(inputs)
            at_hand = isinstance(outputs, Tensor) and isinstance(target, Tensor)
            losses.append(float(loss(outputs, target.to(outputs.device) if at_hand else target)))
    mean = sum(losses) / len(losses)
    return mean if math.isfinite(mean) else math.inf
