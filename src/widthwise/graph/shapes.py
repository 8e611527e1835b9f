"""Shapes of common operators on the meta device, without PyTorch's kernels for it.

PyTorch computes many of these in Python, at 0.1 to 2 ms a call, which would be most of the time of
a trace; and the first such call of a process imports its compiler, which takes two seconds. What is
not covered here, or looks unusual, goes to PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten


def run(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run an operator.

    Args:
        func: The operator overload.
        args: Positional arguments as the dispatcher passes them.
        kwargs: Keyword arguments.

    Returns:
        What the operator returns.
    """
    shortcut = _SHORTCUTS.get(func)
    if shortcut is not None and not kwargs:
        first = args[0][0] if isinstance(args[0], list | tuple) else args[0]
        if isinstance(first, Tensor) and first.is_meta:
            result = shortcut(*args)
            if result is not None:
                return result
    return func(*args, **kwargs)


def _elementwise(first: Tensor, *others: Any) -> Tensor | None:
    """Floats of one type; the others have the shape of the first, or repeat along it."""
    if not first.is_floating_point():
        return None
    alike = True
    for other in others:
        if isinstance(other, Tensor):
            if not _same_type(first, other) or not _repeats_along(other.shape, first.shape):
                return None
            alike &= other.shape == first.shape and other.stride() == first.stride()
            if not alike and not (_is_row_major(first) and _is_row_major(other)):
                return None
        elif isinstance(other, complex):
            return None
    return torch.empty_like(first) if alike else first.new_empty(first.shape)


def _in_place(first: Tensor, *others: Any) -> Tensor | None:
    return None if _elementwise(first, *others) is None else first


def _repeats_along(shape: torch.Size, whole: torch.Size) -> bool:
    offset = len(whole) - len(shape)
    return offset >= 0 and all(size in (1, whole[dim + offset]) for dim, size in enumerate(shape))


def _is_row_major(tensor: Tensor) -> bool:
    steps = [step for step, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]
    return steps == sorted(steps, reverse=True)


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    dim = dim % first.dim() if first.dim() else 0
    sizes = list(first.shape)
    for other in tensors[1:]:
        beside = [size for d, size in enumerate(other.shape) if d != dim]
        if other.dim() != first.dim() or beside != sizes[:dim] + sizes[dim + 1 :]:
            return None
        sizes[dim] += other.shape[dim]
    plain = first.dim() > 0 and _same_type(*tensors) and all(map(_is_row_major, tensors))
    return first.new_empty(sizes) if plain else None


def _mean(first: Tensor, dims: Sequence[int] | None, keep: bool = False) -> Tensor | None:
    if not first.is_floating_point() or not dims or not _is_row_major(first):
        return None
    gone = {dim % first.dim() for dim in dims}
    sizes = [1 if dim in gone else size for dim, size in enumerate(first.shape)]
    return first.new_empty(sizes if keep else [s for d, s in enumerate(sizes) if d not in gone])


def _batch_norm(
    first: Tensor, weight: Any, bias: Any, mean: Any, var: Any, training: bool, *_: Any
) -> tuple[Tensor, Tensor, Tensor] | None:
    if training:
        return None
    channels = first.new_empty(first.shape[1])
    return torch.empty_like(first), channels, torch.empty_like(channels)


def _layer_norm(
    first: Tensor, normalized: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    kept = first.dim() - len(normalized)
    affine = [given for given in (weight, bias) if given is not None]
    if tuple(first.shape[kept:]) != tuple(normalized):
        return None
    if any(tuple(given.shape) != tuple(normalized) for given in affine):
        return None
    if any(given.dtype != first.dtype for given in affine):
        return None
    statistics = first.new_empty([*first.shape[:kept], *(1 for _ in normalized)])
    # Contiguous whatever the input is, as the kernels of real devices return it.
    return first.new_empty(first.shape), statistics, torch.empty_like(statistics)


def _addmm(bias: Tensor, first: Tensor, second: Tensor) -> Tensor | None:
    if not _same_type(bias, first, second) or first.dim() != 2 or second.dim() != 2:
        return None
    rows, columns = first.shape[0], second.shape[1]
    if first.shape[1] != second.shape[0] or tuple(bias.shape) != (columns,):
        return None
    return first.new_empty(rows, columns)


def _softmax(first: Tensor, dim: int, *rest: Any) -> Tensor | None:
    # A dtype, or a change of it, comes behind the dim.
    plain = first.is_contiguous() and first.is_floating_point() and not any(rest)
    return torch.empty_like(first) if plain and -first.dim() <= dim < first.dim() else None


def _roll(first: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor:
    return torch.empty_like(first)


def _same_type(*tensors: Tensor) -> bool:
    return len({(tensor.dtype, tensor.device) for tensor in tensors}) == 1


_SHORTCUTS: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            aten.add.Tensor,
            aten.sub.Tensor,
            aten.mul.Tensor,
            aten.mul.Scalar,
            aten.div.Tensor,
            aten.relu.default,
            aten.sigmoid.default,
            aten.tanh.default,
            aten.gelu.default,
            aten.silu.default,
        ),
        _elementwise,
    ),
    **dict.fromkeys(
        (
            aten.add_.Tensor,
            aten.mul_.Tensor,
            aten.relu_.default,
            aten.sigmoid_.default,
            aten.silu_.default,
            aten.hardswish_.default,
            aten.hardtanh_.default,
            aten.leaky_relu_.default,
        ),
        _in_place,
    ),
    aten.cat.default: _cat,
    aten.mean.dim: _mean,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_layer_norm.default: _layer_norm,
    aten.addmm.default: _addmm,
    aten._softmax.default: _softmax,
    aten._safe_softmax.default: _softmax,
    aten.roll.default: _roll,
}
