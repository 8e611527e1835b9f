"""Operators that join, copy or pick out elements, and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from widthwise.graph.recording.meta_kernels.layouts import (
    Shortcut,
    is_row_major,
    row_major,
    same_type,
)

aten = torch.ops.aten


def _cat(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if not -first.dim() <= dim < first.dim() or not same_type(*tensors):
        return None
    sizes = list(first.shape)
    beside = sizes.copy()
    beside[dim] = 0
    for other in tensors[1:]:
        if other.dim() != len(sizes):
            return None
        sizes[dim] += other.shape[dim]
        theirs = list(other.shape)
        theirs[dim] = 0
        if theirs != beside:
            return None
    # Maps are joined as channels-last ones if all are; nothing else changes the layout.
    plain = len(sizes) not in (4, 5) or any(each.stride(1) > each.stride(-1) for each in tensors)
    return row_major(first, sizes) if plain and min(sizes) > 0 else None


def _stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor | None:
    first = tensors[0]
    if not -first.dim() - 1 <= dim <= first.dim() or not same_type(*tensors):
        return None
    if any(tensor.shape != first.shape for tensor in tensors) or not all(
        map(is_row_major, tensors)
    ):
        return None
    sizes = list(first.shape)
    sizes.insert(dim % (first.dim() + 1), len(tensors))
    return row_major(first, sizes)


def _clone(first: Tensor, *, memory_format: torch.memory_format | None = None) -> Tensor | None:
    if memory_format is torch.contiguous_format:
        return row_major(first, first.shape)
    return None


def _index(first: Tensor, indices: Sequence[Tensor | None]) -> Tensor | None:
    """Places along the first dims, of one shape."""
    shape = None if indices[0] is None else indices[0].shape
    for index in indices:
        if index is None or index.dtype is not torch.int64 or index.shape != shape:
            return None
        if not index.is_meta or not index.is_contiguous():
            return None
    if not shape or not is_row_major(first) or len(indices) > first.dim():
        return None
    return row_major(first, (*shape, *first.shape[len(indices) :]))


def _roll(first: Tensor, shifts: Sequence[int], dims: Sequence[int] = ()) -> Tensor | None:
    plain = 0 < len(shifts) == len(dims) and is_row_major(first)
    inside = all(-first.dim() <= dim < first.dim() for dim in dims)
    return row_major(first, first.shape) if plain and inside else None


def _mm(first: Tensor, second: Tensor) -> Tensor | None:
    if first.dim() != 2 or second.dim() != 2 or first.shape[1] != second.shape[0]:
        return None
    return row_major(first, (first.shape[0], second.shape[1])) if same_type(first, second) else None


def _addmm(bias: Tensor, first: Tensor, second: Tensor) -> Tensor | None:
    product = _mm(first, second)
    fits = product is not None and bias.shape == product.shape[1:] and same_type(bias, product)
    return product if fits else None


def _bmm(first: Tensor, second: Tensor) -> Tensor | None:
    if first.dim() != 3 or second.dim() != 3 or not same_type(first, second):
        return None
    (batch, rows, inner), (others, height, columns) = first.shape, second.shape
    return row_major(first, (batch, rows, columns)) if (batch, inner) == (others, height) else None


SHORTCUTS: dict[Any, Shortcut] = {
    aten.addmm.default: _addmm,
    aten.bmm.default: _bmm,
    aten.cat.default: _cat,
    aten.clone.default: _clone,
    aten.index.Tensor: _index,
    aten.mm.default: _mm,
    aten.roll.default: _roll,
    aten.stack.default: _stack,
}
