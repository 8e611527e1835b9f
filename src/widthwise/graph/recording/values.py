"""What operators are run on: values, no values, or values that are imagined.

Code that reads values (a detector chooses boxes by score) cannot run where there are none. A trace
needs a path through such code, not the right one: a mask is taken to keep everything, a number to
be one, every condition to hold, or none. So a detector is traced in a second, in little memory.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from widthwise.graph.recording import meta_kernels

aten = torch.ops.aten

_MOST_READINGS = 10_000
"""A loop that ends only on a value would never end on an imagined one."""


class Values(Protocol):
    """Runs the operators of a pass."""

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator on what the dispatcher passes, and return what it returns."""
        ...


class RealValues:
    """Operators run as they are."""

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator."""
        return func(*args, **kwargs)


class ValueReadError(Exception):
    """A forward reads a value where there is none.

    Attributes:
        chooses: Whether it chooses elements of a tensor (by a mask, by score), rather than reading
            a number.
    """

    def __init__(self, operator: object, *, chooses: bool) -> None:
        super().__init__(f"`{operator}` reads values")
        self.chooses = chooses


class NoValues:
    """Operators run on the meta device, and none may read a value."""

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator, on tensors without values if one of them has none.

        Args:
            func: The operator overload.
            args: Positional arguments as the dispatcher passes them.
            kwargs: Keyword arguments.

        Returns:
            What the operator returns.

        Raises:
            ValueReadError: If it reads a value.
        """
        args, kwargs = _without_values(args, kwargs)
        if _is_bare(args):
            if func is aten._local_scalar_dense.default:
                raise ValueReadError(func, chooses=False)
            if _imagination(func) or (func is aten.index.Tensor and _has_mask(args[1])):
                raise ValueReadError(func, chooses=True)
        return meta_kernels.run(func, args, kwargs)


class ImaginedValues:
    """Operators run on the meta device; a value that is read is imagined.

    Args:
        holds: Whether conditions hold.
    """

    def __init__(self, *, holds: bool) -> None:
        self._holds = holds
        self._readings = 0

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator; see `NoValues`."""
        args, kwargs = _without_values(args, kwargs)
        if _is_bare(args):
            if func is aten._local_scalar_dense.default:
                return self._number(args[0])
            if (imagine := _imagination(func)) is not None:
                return imagine(*args)
            if func is aten.index.Tensor:
                args = (args[0], _places(args[1]))
        return meta_kernels.run(func, args, kwargs)

    def _number(self, tensor: Tensor) -> float:
        self._readings += 1
        if self._readings > _MOST_READINGS:
            raise RuntimeError(f"the forward reads more than {_MOST_READINGS} numbers")
        if tensor.dtype is torch.bool:
            return self._holds
        return 1.0 if tensor.is_floating_point() else 1


def _is_bare(args: Sequence[Any]) -> bool:
    return bool(args) and isinstance(args[0], Tensor) and args[0].is_meta


def _has_mask(indices: Sequence[Tensor | None]) -> bool:
    return any(index is not None and index.dtype is torch.bool for index in indices)


def _nonzero(mask: Tensor) -> Tensor:
    # Strides as the kernels of real devices return them.
    return torch.empty(mask.dim(), mask.numel(), dtype=torch.int64, device="meta").T


def _masked_select(tensor: Tensor, mask: Tensor) -> Tensor:
    shape = torch.broadcast_shapes(tensor.shape, mask.shape)
    return tensor.new_empty(math.prod(shape))


def _unique(tensor: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """One value: code loops over what is unique."""
    inverse = torch.empty_like(tensor, dtype=torch.int64)
    return tensor.new_empty(1), inverse, inverse.new_empty(1)


def _nms(boxes: Tensor, *_: Any) -> Tensor:
    return torch.empty(boxes.shape[0], dtype=torch.int64, device="meta")


def _places(indices: Sequence[Tensor | None]) -> list[Tensor | None]:
    """Replace masks among the indices by the places they keep."""
    found: list[Tensor | None] = []
    for index in indices:
        if index is not None and index.dtype is torch.bool:
            found.extend(_nonzero(index).unbind(1))
        else:
            found.append(index)
    return found


# By name: torchvision registers its operators when it is imported, which takes a second.
_IMAGINATIONS: dict[str, Callable[..., Any]] = {
    "aten.nonzero.default": _nonzero,
    "aten.masked_select.default": _masked_select,
    "aten._unique2.default": _unique,
    "torchvision.nms.default": _nms,
}


@cache
def _imagination(func: Any) -> Callable[..., Any] | None:
    return _IMAGINATIONS.get(str(func))


def tensors_in(value: Any) -> list[Tensor]:
    """Return the tensors in what an operator takes or returns, where PyTorch's pytree is slow."""
    if isinstance(value, Tensor):
        return [value]
    found: list[Tensor] = []
    if isinstance(value, list | tuple):
        for item in value:
            if isinstance(item, Tensor):
                found.append(item)
            elif isinstance(item, list | tuple):
                found += tensors_in(item)
    return found


def _without_values(
    args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Sequence[Any], dict[str, Any]]:
    """Move tensors that a forward made on another device to the meta device."""
    given = tensors_in(args)
    if kwargs:
        given += tensors_in(list(kwargs.values()))
    bare = sum(leaf.is_meta for leaf in given)
    if bare in (0, len(given)):
        return args, kwargs

    def convert(leaf: Any) -> Any:
        return torch.empty_like(leaf, device="meta") if isinstance(leaf, Tensor) else leaf

    return tree_map(convert, args), tree_map(convert, kwargs)
