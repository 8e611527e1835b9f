"""The complete configuration of a search, as typed records. A recipe is one of these in YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from widthwise.cost import BUDGETS, Budget, read_budget
from widthwise.errors import ConfigError
from widthwise.methods import Method
from widthwise.recipes.arms import check_arms
from widthwise.search.limits import Limits
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    name: str
    """`widthwise/NAME`, `torchvision/NAME`, `timm/NAME` or `package.module:factory`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of its constructor."""
    weights: str | None = None
    """A file of trained weights to start from, `.safetensors` or of `torch.save`; fresh ones if not
    given. Every arm but `scratch` then goes on from them, and is trained like the others."""


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What the found network may cost: a fraction such as 0.5 or 50%, or an amount like 300e6."""

    macs: float | str | None = None
    """Multiply-accumulates for one input: of layers, and of products of activations."""
    params: float | str | None = None
    """Parameters."""
    memory: float | str | None = None
    """Bytes of parameters and activations, for one input."""
    latency: float | str | None = None
    """Milliseconds on this machine, in PyTorch and of one input unless it says otherwise: `0.5`,
    `2.5ms`, or `2.5ms,engine=onnxruntime,batch=8,threads=1`."""

    def __post_init__(self) -> None:
        if all(getattr(self, name) is None for name in BUDGETS):
            keys = ", ".join(f"`budget.{name}`" for name in BUDGETS)
            raise ConfigError(
                f"The budget is empty.\nHint: set at least one of {keys}, such as "
                "`budget.macs: 0.5`."
            )

    def open(self) -> list[Budget]:
        """Make the budgets, all of which must be met."""
        given = {name: getattr(self, name) for name in BUDGETS}
        return [read_budget(name, most) for name, most in given.items() if most is not None]


@dataclass(frozen=True, kw_only=True)
class SearchRecipe:
    """A search for widths: decide, cut, converge, compare."""

    model: ModelConfig
    task: Any
    """What the network is for, chosen by `task.name`: its data and what is measured."""
    budget: BudgetConfig
    limits: Limits = field(default_factory=Limits)
    """What no plan may go below, the same for every arm."""
    method: Method
    """How widths are decided, chosen by `method.name`."""
    search: StageConfig | None = None
    """Training during which widths are decided, for methods that train."""
    converge: StageConfig
    """Training of the narrow network."""
    arms: tuple[str, ...] = ("full", "uniform")
    """What is trained beside the found network, for as many epochs in total: `full` (the network as
    it is), `uniform` (every layer narrowed by the same factor, to the MACs of the found network),
    `scratch` (the found widths with fresh weights), `l1` (trained plainly while the other searches,
    cut where the L1 norms of filters are smallest, trained on), `compress` (trained plainly, cut by
    measured damage and healed, see `widthwise.compress`, trained on), `wide` (as the method widens
    it: a teacher)."""
    teacher: str | None = None
    """The arm that the others are distilled from, with `converge.distil`. It is trained first."""
    carry_optimizer: bool = False
    """Go on after a cut with the momentum from before it, cut like the weights. Published: a fresh
    start."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """Devices and number formats."""
    tensorboard: bool = False
    """Write event files for TensorBoard, besides metrics.csv."""
    seed: int = 0
    """Decides initial weights and the order of the data."""
    threads: int | None = None
    """CPU threads. All cores if not given. Results of different numbers differ in rounding."""

    def __post_init__(self) -> None:
        problems = []
        if self.seed < 0:
            problems.append(f"`seed` must not be negative: got {self.seed}")
        if self.threads is not None and self.threads < 1:
            problems.append(f"`threads` must be at least 1: got {self.threads}")
        if self.method.trains and self.search is None:
            problems.append(
                f"`search` is missing: the method `{self.method.name}` decides while it trains"
            )
        if not self.method.trains and self.search is not None:
            problems.append(
                f"`search` has no effect: the method `{self.method.name}` decides without training"
            )
        if self.model.weights is not None and not self.method.goes_on:
            problems.append(f"`model.weights` has no effect: {self.why_not_trained}")
        if self.hardware.devices * self.hardware.num_nodes > 1:
            problems += self._problems_of_measuring()
        if self.search is not None and self.search.distil:
            problems.append("`search.distil` has no effect: teachers are trained after the search")
        if self.carry_optimizer:
            problems += self._problems_of_carrying()
        problems += check_arms(
            self.arms,
            teacher=self.teacher,
            distils=self.converge.distil > 0,
            method=self.method,
        )
        if problems:
            raise ConfigError("The recipe is set up wrongly:\n    " + "\n    ".join(problems))

    @property
    def why_not_trained(self) -> str | None:
        """Say why its method does nothing with a trained network; None if it does."""
        if self.method.goes_on:
            return None
        return (
            f"the method `{self.method.name}` makes weights of its own; `fade` goes on from those "
            "that a network has"
        )

    def _problems_of_measuring(self) -> list[str]:
        """Say what every one of several processes would measure for itself."""
        problems = []
        if self.budget.latency is not None:
            problems.append(
                "`budget.latency` would be measured by every process for itself, and each would "
                "decide for other widths: search on one device"
            )
        if self.limits.round_to == "measured":
            problems.append(
                "`limits.round_to: measured` would be measured by every process for itself: give "
                "the numbers that `ww.Latency(...).multiples(graph)` says"
            )
        return problems

    def _problems_of_carrying(self) -> list[str]:
        if self.search is None:
            return ["`carry_optimizer` has no effect: there is no training before the cut"]
        if self.search.optimizer is not self.converge.optimizer:
            return [
                "`carry_optimizer` needs the same optimizer in both stages: got "
                f"`{self.search.optimizer.value}` and `{self.converge.optimizer.value}`"
            ]
        if self.search.lr_factors != self.converge.lr_factors:
            return ["`carry_optimizer` needs the same `lr_factors` in both stages"]
        return []


def plain(config: Any) -> Any:
    """Turn a configuration into plain values, for YAML.

    Args:
        config: A configuration record, or anything inside one.

    Returns:
        Mappings, lists, texts and numbers.

    Example:
        >>> plain(BudgetConfig(macs=0.5))
        {'macs': 0.5, 'params': None, 'memory': None, 'latency': None}
    """
    if dataclasses.is_dataclass(config):
        return {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [plain(value) for value in config]
    return config.value if isinstance(config, Enum) else config
