"""Compress: the network trains as it is, and is then cut by measured damage and healed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from widthwise.compression import compressed
from widthwise.compression.compress import STEPS
from widthwise.cost import Budget
from widthwise.errors import ConfigError
from widthwise.methods.afterwards import trained
from widthwise.methods.base import Bench, Found
from widthwise.network.inputs import Inputs
from widthwise.rewrites import Rewrite
from widthwise.search.limits import Limits
from widthwise.shrinking import carry_optimizer


@dataclass(frozen=True, kw_only=True)
class CompressSettings:
    """Widths by what narrowing each layer is measured to cost; in Python, `widthwise.compress`."""

    name: Literal["compress"] = "compress"
    """Name of the method."""
    inputs: int = 1_024
    """Training inputs, without labels, that it measures and heals on; a last batch whole."""
    steps: int = STEPS
    """Gradient steps that the narrow network is refined with, before it is trained on."""

    title: ClassVar[str] = "Compress"
    trains: ClassVar[bool] = True
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def __post_init__(self) -> None:
        if self.inputs < 2:
            raise ConfigError(f"`inputs` must be at least 2, got {self.inputs!r}.")
        if self.steps < 0:
            raise ConfigError(f"`steps` must not be negative, got {self.steps!r}.")

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Train, measure, cut, heal; see `Method`."""
        network, _, optimizer = trained(bench, budget=budget, limits=limits, method=self.name)
        batches: list[Any] = []
        held = 0
        while held < self.inputs:
            batches.append(bench.batch(len(batches))[0])
            held += Inputs.of(batches[-1]).batch or 1
        found = compressed(
            network,
            batches,
            budget=budget,
            limits=limits,
            steps=self.steps,
            progress=bench.says,
        )
        carry_optimizer(optimizer, network, found.network, found.plan)
        return Found(network=found.network, plan=found.plan, optimizer=optimizer)
