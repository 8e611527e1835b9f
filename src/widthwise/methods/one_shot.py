"""One-shot pruning: the network trains as it is, and is cut once by what its weights say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar, Literal

from torch import nn

from widthwise.cost import Budget
from widthwise.graph import ChannelGraph
from widthwise.methods.base import Bench, Found
from widthwise.methods.searching import decided
from widthwise.rewrites import Rewrite
from widthwise.search.handles.still import Still
from widthwise.search.limits import Limits
from widthwise.search.scores import (
    L1,
    L2,
    GeometricMedian,
    KernelSparsityEntropy,
    Lamp,
    Score,
)


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
    stop_limit: ClassVar[float] = 0.0
    check_every: ClassVar[int] = 1_000_000

    def handle(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        seed: int | None,
    ) -> Still:
        """Hold nothing; see `Searching`."""
        return Still(graph, model, self.criterion.score)

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Train, score, cut; see `Method`."""
        return decided(self, bench, budget=budget, limits=limits)
