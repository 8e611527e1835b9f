"""Convolution, pooling, upsampling and normalisation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from widthwise.graph.recording.meta_kernels.layouts import (
    Shortcut,
    elementwise,
    is_row_major,
    row_major,
    same_type,
)

aten = torch.ops.aten

_LAST = torch.channels_last
_STATISTICS = (torch.float32, torch.float64)
"""Types whose means are of the same type."""


def _convolution(
    first: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    output_padding: Sequence[int],
    groups: int,
) -> Tensor | None:
    sizes, kernel = first.shape[2:], weight.shape[2:]
    if not sizes or {len(kernel), len(stride), len(padding), len(dilation)} != {len(sizes)}:
        return None
    if not (first.is_contiguous() and weight.is_contiguous() and same_type(first, weight)):
        return None
    channels, (rows, columns) = first.shape[1], weight.shape[:2]
    reads, writes = (rows, columns * groups) if transposed else (columns * groups, rows)
    if channels != reads or min(*stride, *dilation) < 1 or min(padding) < 0 or rows % groups:
        return None
    if bias is not None and (bias.shape != (writes,) or not same_type(first, bias)):
        return None
    steps = zip(sizes, kernel, stride, padding, dilation, strict=True)
    if transposed:
        if len(output_padding) != len(sizes) or max(output_padding) >= min(*stride, *dilation):
            return None
        found = [
            (size - 1) * step - 2 * pad + spread * (window - 1) + more + 1
            for (size, window, step, pad, spread), more in zip(steps, output_padding, strict=True)
        ]
    else:
        found = [
            (size + 2 * pad - spread * (window - 1) - 1) // step + 1
            for size, window, step, pad, spread in steps
        ]
    result = (first.shape[0], writes, *found)
    return row_major(first, result) if min(result) > 0 and first.numel() else None


def _max_pool(
    first: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    dilation: Sequence[int] = (1, 1),
    ceil: bool = False,
) -> tuple[Tensor, Tensor] | None:
    shape = _pooled(first, kernel, stride, padding, dilation, ceil)
    if shape is None:
        return None
    return row_major(first, shape), row_major(first, shape, torch.int64)


def _average_pool(
    first: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int] = (),
    padding: Sequence[int] = (0, 0),
    ceil: bool = False,
    count_padding: bool = True,
    divisor: int | None = None,
) -> Tensor | None:
    shape = _pooled(first, kernel, stride, padding, (1, 1), ceil)
    return None if shape is None or divisor is not None else row_major(first, shape)


def _pooled(
    first: Tensor,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil: bool,
) -> list[int] | None:
    """Return the shape after pooling a batch of plain maps."""
    stride = stride or kernel
    if first.dim() != 4 or not first.is_floating_point() or not _is_plain_map(first):
        return None
    if {len(kernel), len(stride), len(padding), len(dilation)} != {2}:
        return None
    if min(*kernel, *stride, *dilation) < 1 or min(padding) < 0:
        return None
    shape = list(first.shape[:2])
    steps = zip(first.shape[2:], kernel, stride, padding, dilation, strict=True)
    for size, window, step, pad, spread in steps:
        if pad > window // 2:
            return None
        reach = size + 2 * pad - spread * (window - 1) - 1
        count = (-(-reach // step) if ceil else reach // step) + 1
        # No window may start in the padding behind the map.
        shape.append(count - (ceil and (count - 1) * step >= size + pad))
    return shape if min(shape) > 0 else None


def _upsample_smoothly(first: Tensor, size: Sequence[int], *_: Any) -> Tensor | None:
    shape = (*first.shape[:2], *size)
    if first.dim() != 4 or first.dtype not in _STATISTICS or len(size) != 2:
        return None
    if 1 in (*shape[1:], *first.shape[1:]) or not first.is_contiguous(memory_format=_LAST):
        return _upsample(first, size)
    if min(*shape, *first.shape) < 1:
        return None
    # A batch of one may have any stride; with a short one, maps are not taken for channels-last.
    if first.stride(0) < first[0].numel():
        return row_major(first, shape)
    return torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=_LAST)


def _upsample(first: Tensor, size: Sequence[int], *_: Any) -> Tensor | None:
    if first.dim() != 4 or not first.is_floating_point() or not _is_plain_map(first):
        return None
    shape = (*first.shape[:2], *size)
    return row_major(first, shape) if len(size) == 2 and min(*shape, *first.shape) > 0 else None


def _is_plain_map(first: Tensor) -> bool:
    """Tell whether maps are contiguous, and cannot be taken for channels-last ones."""
    return is_row_major(first) and first.stride(1) > first.stride(3)


def _batch_norm(
    first: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    mean: Tensor | None,
    variance: Tensor | None,
    *_: Any,
) -> tuple[Tensor, Tensor, Tensor] | None:
    # In training, too: without values there are no statistics to keep.
    if mean is None or variance is None or first.dtype not in _STATISTICS:
        return None
    channels = first.shape[1:2]
    for given in (weight, bias, mean, variance):
        if given is not None and (given.shape != channels or not same_type(first, given)):
            return None
    result = elementwise(first.dtype, (first,))
    # Some kernels keep the strides of dims of size one.
    if result is None or result.stride() != first.stride():
        return None
    return result, row_major(first, channels), row_major(first, channels)


def _layer_norm(
    first: Tensor, normalized: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor] | None:
    kept = first.dim() - len(normalized)
    if first.dtype not in _STATISTICS or first.is_contiguous() != is_row_major(first):
        return None
    if not normalized or tuple(first.shape[kept:]) != tuple(normalized):
        return None
    for given in (weight, bias):
        if given is not None:
            if tuple(given.shape) != tuple(normalized) or not same_type(first, given):
                return None
            if not is_row_major(given):
                return None
    statistics = (*first.shape[:kept], *(1 for _ in normalized))
    # Contiguous whatever the input is, as the kernels of real devices return it.
    result = row_major(first, first.shape)
    return result, row_major(first, statistics), row_major(first, statistics)


def _group_norm(
    first: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    batch: int,
    channels: int,
    area: int,
    groups: int,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:
    if not is_row_major(first) or first.dtype not in _STATISTICS or not first.numel():
        return None
    if first.shape[:2] != (batch, channels) or batch * channels * area != first.numel():
        return None
    if groups < 1 or channels % groups:
        return None
    for given in (weight, bias):
        if given is not None and (given.shape != (channels,) or not same_type(first, given)):
            return None
    statistics = (batch, groups)
    result = row_major(first, first.shape)
    return result, row_major(first, statistics), row_major(first, statistics)


SHORTCUTS: dict[Any, Shortcut] = {
    **dict.fromkeys(
        (aten.upsample_bicubic2d.default, aten.upsample_bilinear2d.default), _upsample_smoothly
    ),
    aten.avg_pool2d.default: _average_pool,
    aten.convolution.default: _convolution,
    aten.max_pool2d_with_indices.default: _max_pool,
    aten.native_batch_norm.default: _batch_norm,
    aten.native_group_norm.default: _group_norm,
    aten.native_layer_norm.default: _layer_norm,
    aten.upsample_nearest2d.default: _upsample,
}
