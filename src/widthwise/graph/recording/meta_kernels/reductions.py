"""Sums and the like along dims, and softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from widthwise.graph.recording.meta_kernels.layouts import Shortcut, is_row_major, row_major

aten = torch.ops.aten


def _reduction(first: Tensor, dims: Sequence[int] | None, keep: bool = False) -> Tensor | None:
    if not first.is_floating_point() or not dims or not first.numel():
        return None
    rank = first.dim()
    gone = {dim % rank for dim in dims if -rank <= dim < rank}
    if len(gone) != len(dims):
        return None
    sizes = [1 if dim in gone else size for dim, size in enumerate(first.shape)]
    return row_major(first, sizes if keep else [s for d, s in enumerate(sizes) if d not in gone])


def _vector_norm(
    first: Tensor, order: float = 2, dims: Sequence[int] | None = None, keep: bool = False
) -> Tensor | None:
    # Along a dim of size one there is nothing to add, and the layout may stay.
    return _reduction(first, dims, keep) if is_row_major(first) or 1 not in first.shape else None


def _variance_and_mean(
    first: Tensor,
    dims: Sequence[int] | None = None,
    *,
    correction: float | None = None,
    keepdim: bool = False,
) -> tuple[Tensor, Tensor] | None:
    variance = _reduction(first, dims, keepdim)
    return None if variance is None else (variance, row_major(first, variance.shape))


def _softmax(first: Tensor, dim: int, *rest: Any) -> Tensor | None:
    # A dtype, or a change of it, comes behind the dim.
    plain = is_row_major(first) and first.is_floating_point() and not any(rest)
    return row_major(first, first.shape) if plain and -first.dim() <= dim < first.dim() else None


SHORTCUTS: dict[Any, Shortcut] = {
    **dict.fromkeys(
        (aten.amax.default, aten.amin.default, aten.mean.dim, aten.sum.dim_IntList), _reduction
    ),
    **dict.fromkeys(
        (aten._log_softmax.default, aten._safe_softmax.default, aten._softmax.default), _softmax
    ),
    aten.linalg_vector_norm.default: _vector_norm,
    aten.var_mean.correction: _variance_and_mean,
}
