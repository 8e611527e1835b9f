"""The one product of weights and inputs that a layer computes, also by a forward of its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)


@dataclass(frozen=True)
class Product:
    """What a layer multiplies its weights with.

    Attributes:
        x: What it reads, padded where it pads. Shape ``[..., numbers]`` of a linear layer, ``[n,
            channels, height, width]`` of a convolution, of height one where that is over sequences.
        weight: The weights, as they are multiplied.
        stride: Of the convolution, two numbers.
        dilation: Of the convolution, two numbers.
    """

    x: Tensor
    weight: Tensor
    stride: tuple[int, ...] = (1, 1)
    dilation: tuple[int, ...] = (1, 1)


def product_of(layer: nn.Module, given: Tensor) -> Product | None:
    """Find what a layer multiplies.

    Args:
        layer: Convolution or linear layer, or one derived from them: a class may pad on its own, or
            compute its weights when it is called.
        given: What it is called with.

    Returns:
        The product; None if the layer does anything beside it.
    """
    if isinstance(layer, nn.Linear):
        return _linear(layer, given)
    assert isinstance(layer, CONVOLUTIONS)
    if type(layer).forward in (nn.Conv1d.forward, nn.Conv2d.forward):
        x, weight = as_maps(layer, given), layer.weight
        pad = list(layer._reversed_padding_repeated_twice)
        mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
        x = F.pad(x, pad + [0, 0] * (4 - len(pad) // 2 - 2), mode) if any(pad) else x
        return Product(x, weight, _two(layer.stride), _two(layer.dilation))
    watch = _Convolutions()
    with torch.no_grad(), watch:
        made = _called(layer, given)
    if made is None or len(watch.found) != 1 or watch.found[0][0] != watch.count:
        return None
    x, weight, _, stride, padding, dilation, transposed = watch.found[0][1][:7]
    if transposed or weight.shape != layer.weight.shape:
        return None
    x = as_maps(layer, x)
    down, right = padding if len(padding) == 2 else (0, *padding)
    x = F.pad(x, [right, right, down, down]) if any(padding) else x
    return Product(x, weight, _two(stride), _two(dilation))


def as_maps(layer: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """Return ``[n, channels, height, width]``, of one image and of sequences too."""
    x = x.unsqueeze(0) if x.dim() == layer.weight.dim() - 1 else x
    return x.unsqueeze(2) if isinstance(layer, nn.Conv1d) and x.dim() == 3 else x


def _linear(layer: nn.Linear, given: Tensor) -> Product | None:
    if type(layer).forward is not nn.Linear.forward:
        with torch.no_grad():
            made = _called(layer, given)
            expected = F.linear(given, layer.weight, layer.bias)
        if (
            made is None
            or made.shape != expected.shape
            or not torch.allclose(made, expected, equal_nan=True)
        ):
            return None
    return Product(given, layer.weight)


def _called(layer: nn.Module, given: Tensor) -> Tensor | None:
    """Return what a layer makes of an input; None if it wants more, or makes more."""
    try:
        made = layer.forward(given)
    except TypeError:
        return None
    return made if isinstance(made, Tensor) else None


def _two(numbers: Any) -> tuple[int, ...]:
    return (1, *numbers) if len(numbers) == 1 else tuple(numbers)


@dataclass(eq=False)
class _Convolutions(TorchDispatchMode):
    """Keep what convolutions are called with, and the number of the operation."""

    found: list[tuple[int, tuple[Any, ...]]] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        if func is torch.ops.aten.convolution.default:
            self.found.append((self.count, args))
        return func(*args, **(kwargs or {}))
