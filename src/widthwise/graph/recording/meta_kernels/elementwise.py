"""Operators that work element by element."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from widthwise.graph.recording.meta_kernels.layouts import (
    Shortcut,
    elementwise,
    fits,
    is_row_major,
    row_major,
    same_type,
)

aten = torch.ops.aten

_INTEGERS = (torch.int32, torch.int64)


def _floats(first: Tensor, *others: Any, **options: Any) -> Tensor | None:
    """Floats of one type, and numbers."""
    if not first.is_floating_point():
        return None
    tensors = _tensors(first, (*others, *options.values()))
    return None if tensors is None else elementwise(first.dtype, tensors)


def _numbers(first: Tensor, *others: Any) -> Tensor | None:
    """Floats of one type, or integers of one type, and numbers that do not change it."""
    if first.is_floating_point():
        return _floats(first, *others)
    if first.dtype not in _INTEGERS:
        return None
    if not all(isinstance(other, Tensor) or type(other) is int for other in others):
        return None
    tensors = _tensors(first, others)
    return None if tensors is None else elementwise(first.dtype, tensors)


def _exact(first: Tensor, *others: Any) -> Tensor | None:
    """Kernels of which some keep the strides of dims of size one."""
    result = _floats(first, *others)
    return result if result is not None and result.stride() == first.stride() else None


def _clamp(first: Tensor, *bounds: Any) -> Tensor | None:
    return _exact(first, *bounds) if any(bound is not None for bound in bounds) else None


def _division(first: Tensor, second: Any, *, rounding_mode: str | None) -> Tensor | None:
    """Division by a number; of tensors, PyTorch combines the layouts in another order."""
    if isinstance(second, Tensor):
        return None
    result = _floats(first, second) if rounding_mode is None else _numbers(first, second)
    # As in `_exact`.
    return result if result is not None and result.stride() == first.stride() else None


def _comparison(first: Tensor, *others: Any) -> Tensor | None:
    tensors = _tensors(first, others)
    return None if tensors is None else elementwise(torch.bool, tensors)


def _in_place(first: Tensor, *others: Any) -> Tensor | None:
    # Elements that share memory cannot be written to.
    if not first.is_floating_point() or 0 in first.stride():
        return None
    tensors = _tensors(first, others)
    if tensors is None:
        return None
    return first if all(fits(tensor.shape, first.shape) for tensor in tensors) else None


def _where(condition: Tensor, first: Any, second: Any) -> Tensor | None:
    if condition.dtype is not torch.bool or not isinstance(first, Tensor):
        return None
    if not isinstance(second, Tensor) or not same_type(first, second):
        return None
    return elementwise(first.dtype, (condition, first, second))


def _masked_fill(first: Tensor, mask: Tensor, value: complex) -> Tensor | None:
    if not first.is_floating_point() or isinstance(value, complex) or not mask.is_meta:
        return None
    if mask.dtype is not torch.bool or not fits(mask.shape, first.shape):
        return None
    # With another layout, where dims of size one lie depends on the mask.
    return row_major(first, first.shape) if is_row_major(first) and is_row_major(mask) else None


def _tensors(first: Tensor, others: tuple[Any, ...]) -> list[Tensor] | None:
    """Return the tensors among operands if they are all of one type."""
    found = [first]
    # Some kernels make full floats of half ones first, and so change their layout.
    half = first.is_floating_point() and first.element_size() < 4
    for other in others:
        if isinstance(other, Tensor):
            if other.dtype != first.dtype or not other.is_meta:
                return None
            if half and (other.shape, other.stride()) != (first.shape, first.stride()):
                return None
            found.append(other)
        elif isinstance(other, complex):
            return None
    return found


SHORTCUTS: dict[Any, Shortcut] = {
    **dict.fromkeys(
        (
            aten.cos.default,
            aten.div.Scalar,
            aten.div.Tensor,
            aten.elu.default,
            aten.erf.default,
            aten.exp.default,
            aten.floor.default,
            aten.gelu.default,
            aten.hardsigmoid.default,
            aten.hardswish.default,
            aten.leaky_relu.default,
            aten.log.default,
            aten.mish.default,
            aten.reciprocal.default,
            aten.rsqrt.default,
            aten.sigmoid.default,
            aten.silu.default,
            aten.sin.default,
            aten.softplus.default,
            aten.sqrt.default,
            aten.tanh.default,
        ),
        _floats,
    ),
    **dict.fromkeys(
        (
            aten.abs.default,
            aten.add.Scalar,
            aten.add.Tensor,
            aten.maximum.default,
            aten.minimum.default,
            aten.mul.Scalar,
            aten.mul.Tensor,
            aten.neg.default,
            aten.remainder.Scalar,
            aten.rsub.Scalar,
            aten.sub.Scalar,
            aten.sub.Tensor,
        ),
        _numbers,
    ),
    **dict.fromkeys(
        (
            aten._prelu_kernel.default,
            aten.clamp_max.default,
            aten.clamp_min.default,
            aten.hardtanh.default,
            aten.pow.Tensor_Scalar,
            aten.relu.default,
        ),
        _exact,
    ),
    **dict.fromkeys(
        (
            aten.eq.Scalar,
            aten.eq.Tensor,
            aten.ge.Scalar,
            aten.ge.Tensor,
            aten.gt.Scalar,
            aten.gt.Tensor,
            aten.le.Scalar,
            aten.le.Tensor,
            aten.lt.Scalar,
            aten.lt.Tensor,
            aten.ne.Scalar,
            aten.ne.Tensor,
        ),
        _comparison,
    ),
    **dict.fromkeys(
        (
            aten.add_.Tensor,
            aten.clamp_min_.default,
            aten.div_.Tensor,
            aten.elu_.default,
            aten.hardsigmoid_.default,
            aten.hardswish_.default,
            aten.hardtanh_.default,
            aten.leaky_relu_.default,
            aten.mul_.Tensor,
            aten.relu_.default,
            aten.sigmoid_.default,
            aten.silu_.default,
            aten.sub_.Tensor,
            aten.tanh_.default,
        ),
        _in_place,
    ),
    aten.clamp.default: _clamp,
    aten.div.Tensor_mode: _division,
    aten.masked_fill.Scalar: _masked_fill,
    aten.where.self: _where,
}
