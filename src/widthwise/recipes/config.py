"""The complete configuration of a search, as typed records. A recipe is one of these in YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from widthwise.errors import ConfigError
from widthwise.recipes.methods import DhpConfig
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    name: str
    """`widthwise/NAME`, `torchvision/NAME`, `timm/NAME` or `package.module:factory`."""
    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of its constructor."""


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """The images."""

    name: str
    """`digits`, `cifar10`, `cifar100`, `tiny_imagenet`, `imagenet`, `imagefolder`,
    `torchvision/NAME`, `timm/torch/NAME` or `timm/hfds/NAME`."""
    folder: str | None = None
    """Where its files are. The environment variable WIDTHWISE_DATA, or else `data`, if not
    given."""
    download: bool = False
    """Download the data set into the folder if it is not there."""
    image_size: int | None = None
    """Height and width of images that are cut out of larger ones."""
    batch_size: int = 64
    """Images per training step, of all processes together."""
    shift: int = 0
    """Training images are shifted at random by up to this many pixels."""
    flip: bool = False
    """Training images are mirrored at random, left to right."""
    workers: int = 0
    """Processes that decode image files. Data sets in memory need none."""

    def __post_init__(self) -> None:
        problems = [
            f"`data.{name}` must be at least {least}: got {value}"
            for name, value, least in (
                ("batch_size", self.batch_size, 1),
                ("shift", self.shift, 0),
                ("image_size", self.image_size, 1),
                ("workers", self.workers, 0),
            )
            if value is not None and value < least
        ]
        if problems:
            raise ConfigError("The data is set up wrongly:\n    " + "\n    ".join(problems))


@dataclass(frozen=True, kw_only=True)
class BudgetConfig:
    """What the found network may cost: a fraction such as 0.5 or 50%, or an amount like 300e6."""

    macs: float | str | None = None
    """Multiply-accumulates of convolutions and linear layers, for one image."""
    params: float | str | None = None
    """Parameters."""
    memory: float | str | None = None
    """Bytes of parameters and activations, for one image."""

    def __post_init__(self) -> None:
        if self.macs is None and self.params is None and self.memory is None:
            raise ConfigError(
                "The budget is empty.\nHint: set at least one of `budget.macs`, `budget.params`, "
                "`budget.memory`, such as `budget.macs: 0.5`."
            )


class Baseline(Enum):
    """A network that the found one is compared with, trained for as many epochs in total."""

    full = "full"
    """The network as it is."""
    uniform = "uniform"
    """Every layer narrowed by the same factor, to the MACs of the found network."""
    scratch = "scratch"
    """The found widths with fresh weights."""
    l1 = "l1"
    """The full network, trained plainly while the others search, cut to the MACs of the found
    network where the L1 norms of filters are smallest, and trained on."""


@dataclass(frozen=True, kw_only=True)
class SearchRecipe:
    """A search for widths: search, shrink, converge, compare."""

    model: ModelConfig
    data: DataConfig
    method: DhpConfig
    budget: BudgetConfig
    search: StageConfig
    """Training during which widths are decided."""
    converge: StageConfig
    """Training of the shrunk network, from the weights it inherits."""
    carry_optimizer: bool = False
    """Start converging with the momentum of the search, cut like the weights. Published: fresh."""
    compare: tuple[Baseline, ...] = (Baseline.full, Baseline.uniform)
    """What else is trained: `full`, `uniform`, `scratch`, `l1`."""
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    """Devices and number formats."""
    tensorboard: bool = False
    """Write event files for TensorBoard, besides metrics.csv."""
    seed: int = 0
    """Decides initial weights and the order of the images."""
    threads: int | None = None
    """CPU threads. All cores if not given. Results of different numbers differ in rounding."""

    def __post_init__(self) -> None:
        if self.seed < 0 or (self.threads is not None and self.threads < 1):
            raise ConfigError(
                "`seed` must not be negative and `threads` must be at least 1: "
                f"got {self.seed} and {self.threads}."
            )
        if self.carry_optimizer and self.search.optimizer is not self.converge.optimizer:
            raise ConfigError(
                "`carry_optimizer` needs the same optimizer in both stages: got "
                f"`{self.search.optimizer.value}` and `{self.converge.optimizer.value}`."
            )


def plain(config: Any) -> Any:
    """Turn a configuration into plain values, for YAML.

    Args:
        config: A configuration record, or anything inside one.

    Returns:
        Mappings, lists, texts and numbers.

    Example:
        >>> plain(BudgetConfig(macs=0.5))
        {'macs': 0.5, 'params': None, 'memory': None}
    """
    if dataclasses.is_dataclass(config):
        return {f.name: plain(getattr(config, f.name)) for f in dataclasses.fields(config)}
    if isinstance(config, Mapping):
        return {str(key): plain(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [plain(value) for value in config]
    return config.value if isinstance(config, Enum) else config
