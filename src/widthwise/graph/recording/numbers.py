"""The numbers that a call computes with, told apart from sizes and dims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_NUMBERS = (float, int)
_FILLING = {
    torch.ops.aten.full,
    torch.ops.aten.full_like,
    torch.ops.aten.new_full,
    torch.ops.aten.fill,
    torch.ops.aten.fill_,
    torch.ops.aten.scalar_tensor,
}
"""What puts one number everywhere; their sizes are lists."""


def numbers_in(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[float, ...]:
    """Return the numbers among the arguments of a call."""
    given = (value for value in (*args, *kwargs.values()) if type(value) in _NUMBERS)
    return tuple(value for value in given if is_number(func, value))


def is_number(func: Any, value: Any) -> bool:
    """Tell whether an argument is a number to compute with, not a size or a dim."""
    # Floats always are; integers are where the operator is pointwise, or fills.
    whole = torch.Tag.pointwise in func.tags or func.overloadpacket in _FILLING
    kinds = (float, int) if whole else (float,)
    return isinstance(value, kinds) and not isinstance(value, bool)


def is_constant(func: Any) -> bool:
    """Tell whether a call takes in a tensor of numbers that Python code wrote down."""
    return bool(func.overloadpacket is torch.ops.aten.lift_fresh)
