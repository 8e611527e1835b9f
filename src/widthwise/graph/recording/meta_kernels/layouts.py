"""New tensors with the strides that PyTorch's kernels give their results."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Shortcut = Callable[..., Any]
"""Takes an operator's arguments; returns what the operator returns, or None to leave it alone."""

_META = torch.device("meta")


def row_major(like: Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> Tensor:
    """Return a new contiguous tensor, of the type of another if none is given."""
    return torch.empty(shape, dtype=dtype or like.dtype, device=_META)


def elementwise(dtype: torch.dtype, operands: Sequence[Tensor]) -> Tensor | None:
    """Return the result of an elementwise operator, or None where kernels differ in its strides.

    It is contiguous, or channels-last, if all operands are. Else its dims lie in memory as the
    first operand with an opinion has them.
    """
    first, *others = operands
    shape = first.shape
    if not shape.numel():
        return None
    if all(other.shape == shape for other in others):
        strides = [operand.stride() for operand in operands]
        if all(operand.is_contiguous() for operand in operands):
            result = torch.empty(shape, dtype=dtype, device=_META)
            # Maps of one pixel or one channel: what they are taken for depends on the kernel.
            ambiguous = len(shape) == 4 and _is_channels_last(first)
            differs = ambiguous and any(own != result.stride() for own in strides)
            return None if differs else result
        if len(shape) == 4 and all(map(_is_channels_last, operands)):
            return torch.empty(shape, dtype=dtype, device=_META, memory_format=torch.channels_last)
    else:
        broadcast = _broadcast([operand.shape for operand in operands])
        if broadcast is None:
            return None
        shape = broadcast
        if not shape.numel():
            return None
        strides = [_expanded(operand, shape) for operand in operands]
    found = _combined(shape, strides)
    if any(own != strides[0] for own in strides):
        # Kernels agree on where dims of size one lie only for a batch of one before the rest.
        if 1 in shape[1:] or (shape[0] == 1 and found[0] != shape.numel()):
            return None
    return torch.empty_strided(shape, found, dtype=dtype, device=_META)


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.is_contiguous(memory_format=torch.channels_last)


def fits(shape: torch.Size, whole: torch.Size) -> bool:
    """Tell whether a shape can be repeated to a whole one."""
    offset = len(whole) - len(shape)
    return offset >= 0 and all(
        size in (1, whole[dim]) for dim, size in enumerate(shape, start=offset)
    )


def is_row_major(tensor: Tensor) -> bool:
    """Tell whether a tensor is contiguous, with the strides that a new one would have."""
    if not tensor.is_contiguous():
        return False
    step = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.stride()), strict=True):
        if stride != step:
            return False
        step *= max(size, 1)
    return True


def same_type(*tensors: Tensor) -> bool:
    """Tell whether tensors have one type, and all are on the meta device."""
    dtype = tensors[0].dtype
    return all(tensor.dtype == dtype and tensor.is_meta for tensor in tensors)


def _broadcast(shapes: Sequence[torch.Size]) -> torch.Size | None:
    sizes = [1] * max(map(len, shapes))
    for shape in shapes:
        for dim in range(-len(shape), 0):
            if sizes[dim] == 1:
                sizes[dim] = shape[dim]
            elif shape[dim] not in (1, sizes[dim]):
                return None
    return torch.Size(sizes)


def _expanded(tensor: Tensor, shape: torch.Size) -> tuple[int, ...]:
    """Return the strides that `tensor.expand(shape)` has."""
    if tensor.shape == shape:
        return tensor.stride()
    return tensor.expand(shape).stride()


def _combined(shape: torch.Size, operands: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """Return the strides that PyTorch chooses for operands of one shape with these strides."""

    def is_outer(dim: int, other: int) -> bool | None:
        for strides in operands:
            step, further = strides[dim], strides[other]
            if step == 0 or further == 0:
                continue
            if step != further:
                return step > further
            if shape[dim] > shape[other]:
                return True
        return None

    # From the innermost dim outwards. A dim that no operand has an opinion on stays where it is,
    # and others pass it: an insertion sort, but not of a total order.
    order = list(reversed(range(len(shape))))
    for end in range(1, len(order)):
        at = end
        for place in range(end - 1, -1, -1):
            outer = is_outer(order[place], order[at])
            if outer is None:
                continue
            if not outer:
                break
            order[place], order[at] = order[at], order[place]
            at = place
    found = [0] * len(order)
    step = 1
    for dim in order:
        found[dim] = step
        step *= shape[dim]
    return tuple(found)
