"""Random numbers that a forward draws: the masked network is given those of the narrow one.

A network that adds noise or drops values in evaluation mode draws as many numbers as it has
channels, so the two would draw different ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

aten = torch.ops.aten

_FRESH = (
    aten.rand,
    aten.randn,
    aten.randint,
    aten.rand_like,
    aten.randn_like,
    aten.randint_like,
    aten.normal_,
    aten.uniform_,
    aten.exponential_,
    aten.cauchy_,
    aten.log_normal_,
    aten.geometric_,
    aten.random_,
)
"""Operators whose numbers depend on nothing that the network computes."""
_BY_CHANCE = (aten.bernoulli.default, aten.bernoulli_.float)


def is_drawn(func: Any) -> bool:
    """Tell whether an operator draws numbers that can be noted and given."""
    return func.overloadpacket in _FRESH or func in _BY_CHANCE


def drawn(func: Any, args: Sequence[Any], result: Tensor) -> tuple[Tensor, Tensor]:
    """Return what an operator drew, and what it gives for that.

    Args:
        func: The operator; see `is_drawn`.
        args: Its arguments.
        result: What it returned.
    """
    if func not in _BY_CHANCE:
        return result.clone(), result
    chances = torch.rand(result.shape, device=result.device)
    return chances, given(func, args, result, chances)


def given(func: Any, args: Sequence[Any], result: Tensor, draw: Tensor) -> Tensor:
    """Return what an operator gives for a certain draw.

    Args:
        func: The operator.
        args: Its arguments.
        result: What it gave for its own; written into where it works in place.
        draw: As `drawn` returns it.
    """
    made = draw
    if func in _BY_CHANCE:
        likely = args[0] if func is aten.bernoulli.default else args[1]
        made = (draw < likely).to(result.dtype)
    return result.copy_(made) if func._schema.is_mutable else made
