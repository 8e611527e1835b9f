"""The numbers that a call computes with, told apart from sizes and dims."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

_NUMBERS = (float, int)


def numbers_in(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[float, ...]:
    """Return the numbers among the arguments of a call."""
    given = (value for value in (*args, *kwargs.values()) if type(value) in _NUMBERS)
    return tuple(value for value in given if is_number(func, value))


def is_number(func: Any, value: Any) -> bool:
    """Tell whether an argument is a number to compute with, not a size or a dim."""
    # Floats always are; integers are where the operator is pointwise.
    kinds = (float, int) if torch.Tag.pointwise in func.tags else (float,)
    return isinstance(value, kinds) and not isinstance(value, bool)
