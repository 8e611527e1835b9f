"""Factorise: a convolution becomes a few pairs of a depthwise and a 1x1 convolution."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.rewrites.convolutions import Convolution, replaced
from widthwise.rewrites.modules import names
from widthwise.rewrites.registry import register


@register
@dataclass(frozen=True)
class Factorise:
    """Convolutions become layers of a depthwise and a 1x1 convolution, with a shortcut and a ReLU.

    Wang, Liu, Foroosh, "Factorized Convolutional Neural Networks" (ICCV workshops 2017,
    arXiv:1608.04337), single intra-channel convolutions: each layer of the stack computes
    ``relu(x + mix(depthwise(x)))``, without the shortcut where sizes differ. Nothing of the
    convolution's weights is used: the new ones are drawn by PyTorch's rules, the same at every
    call, and wait to be trained.

    Args:
        layers: Paths or globs of convolutions.
        count: Layers in the place of each. The first has its stride, the last its outputs.

    Raises:
        ConfigError: If the count is not positive.
    """

    name: ClassVar[str] = "factorise"
    layers: Sequence[str]
    count: int = 2

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", names(self.layers))
        if self.count < 1:
            raise errors.ConfigError(f"A stack has at least 1 layer, got {self.count!r}.")

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the network with a stack in the place of each layer; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Not looked at.

        Returns:
            A network of the same class that shares no memory with ``model``.

        Raises:
            ConfigError: If a name matches no module, or a module cannot be written so.
        """
        devices = {p.device for p in model.parameters() if p.is_cuda}
        with torch.random.fork_rng(devices):
            torch.manual_seed(0)
            return replaced(model, self.name, self.layers, self._stack)

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        """Return None: it computes another function."""
        return None

    def to_spec(self) -> dict[str, Any]:
        """Return layers and count."""
        return {"layers": list(self.layers), "count": self.count}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Factorise:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _stack(self, layer: Convolution) -> nn.Sequential:
        kind: Any = type(layer)
        ones = (1,) * len(layer.kernel_size)
        made = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        stack = []
        for place in range(self.count):
            first, last = place == 0, place == self.count - 1
            depthwise = kind(
                layer.in_channels,
                layer.in_channels,
                layer.kernel_size,
                layer.stride if first else ones,
                layer.padding if first else "same",
                layer.dilation,
                groups=layer.in_channels,
                bias=False,
                padding_mode=layer.padding_mode,
                **made,
            )
            outs = layer.out_channels if last else layer.in_channels
            mix = kind(layer.in_channels, outs, ones, bias=layer.bias is not None, **made)
            stack.append(Factor(depthwise, mix))
        return nn.Sequential(*stack)


class Factor(nn.Module):
    """A depthwise and a 1x1 convolution, a shortcut past both, and a ReLU.

    Args:
        depthwise: Reads every channel on its own.
        mix: A 1x1 convolution.
    """

    def __init__(self, depthwise: nn.Module, mix: nn.Module) -> None:
        super().__init__()
        self.depthwise = depthwise
        self.mix = mix

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.mix(self.depthwise(x))
        return torch.relu(out + x if out.shape == x.shape else out)
