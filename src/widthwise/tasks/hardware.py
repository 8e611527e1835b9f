"""What a run trains on, and in which numbers: the settings handed to Lightning's trainer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import torch

from widthwise.errors import ConfigError


class Precision(Enum):
    """Numbers that convolutions and matrix products are computed in."""

    float32 = "float32"
    bfloat16 = "bfloat16"

    @property
    def lightning(self) -> str:
        """Lightning's name of it. Parameters stay float32 in both."""
        return {Precision.float32: "32-true", Precision.bfloat16: "bf16-mixed"}[self]

    def autocast(self, device: torch.device) -> torch.autocast:
        """Compute what is inside in this precision, as training does."""
        return torch.autocast(device.type, torch.bfloat16, enabled=self is Precision.bfloat16)


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Devices and number formats."""

    accelerator: str = "auto"
    """Lightning's accelerator: `auto`, `cpu`, `gpu`, `mps`."""
    devices: int = 1
    """Devices of every machine; with more than one, each trains on its share of every epoch."""
    num_nodes: int = 1
    """Machines."""
    strategy: str = "auto"
    """Lightning's strategy, such as `ddp`."""
    precision: Precision = Precision.bfloat16
    """`bfloat16` (mixed: parameters stay float32) or `float32`."""
    channels_last: bool = True
    """Keep images and weights in the memory format that convolutions are fastest in."""

    def __post_init__(self) -> None:
        if self.devices < 1 or self.num_nodes < 1:
            raise ConfigError(
                "`hardware.devices` and `hardware.num_nodes` must be at least 1: "
                f"got {self.devices} and {self.num_nodes}."
            )

    @property
    def memory_format(self) -> torch.memory_format:
        """Memory format of images and weights."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def trainer_options(self) -> dict[str, Any]:
        """Give the keyword arguments for Lightning's trainer."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "precision": self.precision.lightning,
        }
