"""What a run trains on, and in which numbers: the settings handed to Lightning's trainer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError


class Precision(Enum):
    """Numbers that convolutions and matrix products are computed in."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"

    def on(self, device: str) -> Precision:
        """Say which numbers are meant on a kind of device, such as ``cpu``.

        ``auto`` is bfloat16 where the hardware computes in it. Elsewhere PyTorch emulates it: on a
        CPU without such instructions a training step takes many times as long as in float32.

        Args:
            device: As PyTorch calls it.

        Returns:
            Any but ``auto``.
        """
        if self is not Precision.auto:
            return self
        return Precision.bfloat16 if _computes_bfloat16(device) else Precision.float32

    @property
    def lightning(self) -> str:
        """Lightning's name of it, once it is known. Parameters stay float32 in both."""
        return {Precision.float32: "32-true", Precision.bfloat16: "bf16-mixed"}[self]

    def autocast(self, device: torch.device) -> torch.autocast:
        """Compute what is inside in this precision, as training does."""
        enabled = self.on(device.type) is Precision.bfloat16
        return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


def seed_step(seed: int, device: torch.device) -> None:
    """Seed the generators that a training step may draw from: the CPU's and that of its device.

    ``torch.manual_seed`` also asks kinds of devices that are not there, and remembers the stack of
    every call for the day they are, which takes long beside a small step.

    Args:
        seed: Of the step.
        device: What it runs on.
    """
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        getattr(torch, device.type).manual_seed(seed)


def _call(network: nn.Module, *inputs: Tensor) -> Tensor:
    outputs: Tensor = network(*inputs)
    return outputs


def _computes_bfloat16(device: str) -> bool:
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    # PyTorch has no public question for this, and newer versions know more CPUs.
    questions = ("_is_avx512_bf16_supported", "_is_amx_tile_supported", "_is_arm_bf16_supported")
    return device == "cpu" and any(getattr(torch.cpu, question, bool)() for question in questions)


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
    precision: Precision = Precision.auto
    """`bfloat16` (mixed: parameters stay float32), `float32`, or `auto`: bfloat16 where the device
    computes in it."""
    channels_last: bool = True
    """Keep images and weights in the memory format that convolutions are fastest in."""
    compile: bool = False
    """Compile networks for training (`torch.compile`, with CUDA graphs on a GPU). It takes a minute
    or two per network, and pays where steps are short and epochs many."""

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

    @property
    def device(self) -> str:
        """Kind of device that Lightning chooses, such as ``cpu``, as PyTorch calls it."""
        if self.accelerator not in ("auto", "gpu"):
            return self.accelerator
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def caller(self, network: nn.Module) -> Callable[..., Tensor]:
        """Return what calls a network in training.

        Args:
            network: Called on one batch; not changed.

        Returns:
            The network's call, compiled at its first use if that was asked for. It raises a
            ConfigError where the compiler cannot do it.
        """
        if not self.compile:
            return partial(_call, network)
        # It takes two seconds to import.
        from torch._dynamo.exc import TorchDynamoException

        # Compiled code is kept by function: each network needs its own.
        def of_its_own(*inputs: Tensor) -> Tensor:
            return _call(network, *inputs)

        compiled = torch.compile(of_its_own, mode="reduce-overhead", dynamic=False)

        def call(*inputs: Tensor) -> Tensor:
            try:
                return compiled(*inputs)
            except TorchDynamoException as error:
                why = str(error).strip().partition("\n")[0]
                raise ConfigError(
                    f"`hardware.compile`: torch.compile failed on this network: {why}\n"
                    "Hint: set `hardware.compile: false`."
                ) from error

        return call

    def describe_precision(self) -> str:
        """Say which numbers a run computes in, and why if nobody asked for them."""
        found = self.precision.on(self.device)
        if self.precision is not Precision.auto:
            return found.value
        does = "computes" if found is Precision.bfloat16 else "does not compute"
        return f"{found.value} (auto: this {self.device} {does} in bfloat16)"

    def trainer_options(self) -> dict[str, Any]:
        """Give the keyword arguments for Lightning's trainer."""
        return {
            "accelerator": self.accelerator,
            "devices": self.devices,
            "num_nodes": self.num_nodes,
            "strategy": self.strategy,
            "precision": self.precision.on(self.device).lightning,
        }
