"""One call of a layer with weights, at any widths: what is in a table of times."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from widthwise.latency.engines import Setting
from widthwise.network.copying import named_tensors
from widthwise.network.inputs import Inputs

_ATEN = torch.ops.aten


class Kind(Enum):
    """What a layer computes."""

    convolution = "conv"
    transposed = "conv_transposed"
    linear = "linear"


@dataclass(frozen=True, kw_only=True)
class LayerCall:
    """A layer and the shape of what it reads.

    Attributes:
        kind: What it computes.
        outer: Length of its weight's dim of output channels. Of a transposed convolution, those of
            one group.
        inner: Length of the dim of input channels. Of a convolution, those of one group.
        groups: Of a convolution; 1 for linear layers.
        size: Of the input without its channels: batch and space, or rows of a matrix.
        options: Kernel, stride, padding, dilation and output padding of a convolution.
        bias: Whether there is one.
        dtype: Such as ``float32``.
    """

    kind: Kind
    outer: int
    inner: int
    groups: int
    size: tuple[int, ...]
    options: tuple[tuple[int, ...], ...]
    bias: bool
    dtype: str

    def at(self, outer: int, inner: int, groups: int) -> LayerCall:
        """Return the same layer at other widths."""
        return replace(self, outer=outer, inner=inner, groups=groups)

    @property
    def key(self) -> str:
        """One line that says all; what takes the same time has the same one."""
        options = " ".join("x".join(map(str, each)) for each in self.options)
        size = "x".join(map(str, self.size))
        bias = "bias" if self.bias else "plain"
        return (
            f"{self.kind.value} {self.outer}<-{self.inner} groups {self.groups} on {size} "
            f"[{options}] {bias} {self.dtype}"
        )

    @property
    def outputs(self) -> int:
        """Output channels."""
        return self.outer * (self.groups if self.kind is Kind.transposed else 1)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        sides = (self.outer, self.inner)
        if self.kind is Kind.linear:
            return sides
        return (*(sides[::-1] if self.kind is Kind.transposed else sides), *self.options[0])

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of what it reads."""
        if self.kind is Kind.linear:
            return (*self.size, self.inner)
        groups = self.groups if self.kind is Kind.convolution else 1
        return (self.size[0], self.inner * groups, *self.size[1:])

    def tensors(self, device: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Make an input, a weight and a bias, all of one small value."""
        kind = getattr(torch, self.dtype)
        shapes = (self.input_shape, self.weight_shape, (self.outputs,))
        x, weight, bias = (torch.full(s, 0.01, dtype=kind, device=device) for s in shapes)
        return x, weight, bias if self.bias else None

    def compute(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Compute the layer."""
        if self.kind is Kind.linear:
            return nn.functional.linear(x, weight, bias)
        _, stride, padding, dilation, more = self.options
        transposed = self.kind is Kind.transposed
        return torch.convolution(
            x, weight, bias, stride, padding, dilation, transposed, more, self.groups
        )

    def ready(self, setting: Setting) -> Callable[[], object]:
        """Return what runs the layer once in PyTorch, and waits for it.

        Args:
            setting: Its device is used; threads are those of the caller.
        """
        given = self.tensors(setting.device)

        def once() -> object:
            with torch.inference_mode():
                found = self.compute(*given)
            if found.is_cuda:
                torch.cuda.synchronize()
            return found

        return once


def calls_in(network: nn.Module, inputs: Inputs) -> list[tuple[str, LayerCall]]:
    """List the calls of layers in one forward pass.

    Args:
        network: With values, in evaluation mode; not changed.
        inputs: Of the batch to measure.

    Returns:
        Names of weights and their calls, in order. Weights that are computed from others are not
        listed, nor are products of activations.
    """
    names = {_memory(tensor): name for name, tensor in named_tensors(network)}
    recorder = _Recorder(names)
    with torch.no_grad(), recorder:
        inputs.call(network)
    return recorder.found


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata


class _Recorder(TorchDispatchMode):
    def __init__(self, names: dict[int, str]) -> None:
        super().__init__()
        self._names = names
        self.found: list[tuple[str, LayerCall]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is _ATEN.convolution.default:
            self._note(args[1], _convolution(*args))
        elif func is _ATEN.addmm.default and not kwargs:
            self._note(args[2], _linear(args[1], args[2], bias=True))
        elif func is _ATEN.mm.default:
            self._note(args[1], _linear(args[0], args[1], bias=False))
        return func(*args, **(kwargs or {}))

    def _note(self, weight: Tensor, call: LayerCall) -> None:
        name = self._names.get(_memory(weight))
        # A part of a weight is not what its name says.
        if name is not None and weight.numel() == math.prod(call.weight_shape):
            self.found.append((name, call))


def _convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    transposed: bool,
    more: list[int],
    groups: int,
) -> LayerCall:
    sides = tuple(weight.shape[:2])
    outer, inner = sides[::-1] if transposed else sides
    options = (weight.shape[2:], stride, padding, dilation, more)
    return LayerCall(
        kind=Kind.transposed if transposed else Kind.convolution,
        outer=outer,
        inner=inner,
        groups=groups,
        size=(x.shape[0], *x.shape[2:]),
        options=tuple(tuple(map(int, each)) for each in options),
        bias=bias is not None,
        dtype=_dtype(weight),
    )


def _linear(x: Tensor, turned: Tensor, *, bias: bool) -> LayerCall:
    inner, outer = turned.shape
    return LayerCall(
        kind=Kind.linear,
        outer=outer,
        inner=inner,
        groups=1,
        size=(x.shape[0],),
        options=(),
        bias=bias,
        dtype=_dtype(turned),
    )


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
