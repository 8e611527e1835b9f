"""One-shot pruning: the network trains as it is, and is cut once by what its weights say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal

from widthwise.cost import Budget
from widthwise.methods.afterwards import trained
from widthwise.methods.base import Bench, Found
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite
from widthwise.search.limits import Limits
from widthwise.search.planning import select
from widthwise.search.scores import (
    L1,
    L2,
    GeometricMedian,
    KernelSparsityEntropy,
    Lamp,
    Score,
)
from widthwise.shrinking import carry_optimizer, shrink


class Criterion(Enum):
    """What tells units apart, of those that read weights alone; see `widthwise.scores`."""

    l1 = "l1"
    l2 = "l2"
    lamp = "lamp"
    geometric_median = "geometric_median"
    """FPGM."""
    kernel_sparsity_entropy = "kernel_sparsity_entropy"
    """KSE."""

    @property
    def score(self) -> Score:
        """The score of that name."""
        scores: dict[Criterion, Callable[[], Score]] = {
            Criterion.l1: L1,
            Criterion.l2: L2,
            Criterion.lamp: Lamp,
            Criterion.geometric_median: GeometricMedian,
            Criterion.kernel_sparsity_entropy: KernelSparsityEntropy,
        }
        return scores[self]()


@dataclass(frozen=True, kw_only=True)
class OneShotSettings:
    """A published criterion, on a network that has been trained; in Python, `widthwise.plan`."""

    name: Literal["one_shot"] = "one_shot"
    """Name of the method."""
    criterion: Criterion = Criterion.l1
    """What tells units apart."""

    title: ClassVar[str] = "One shot"
    trains: ClassVar[bool] = True
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Train, score, cut; see `Method`."""
        network, graph, optimizer = trained(bench, budget=budget, limits=limits, method=self.name)
        scores = self.criterion.score(graph)
        kept = select(graph, scores, budget, limits.on(graph, budget))
        plan = Plan.of(graph, kept, budgets=budget, method=self.name)
        small = shrink(network, plan)
        carry_optimizer(optimizer, network, small, plan)
        return Found(network=small, plan=plan, optimizer=optimizer)
