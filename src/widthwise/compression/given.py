"""Inputs to compress on: read, and parted into those to heal on and those to compare on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from widthwise import errors
from widthwise.network.batches import read_batches
from widthwise.network.inputs import Inputs


def read(model: nn.Module, batches: Iterable[Any]) -> list[Inputs]:
    """Read batches, and bring them to the device of a network.

    Args:
        model: The network.
        batches: Inputs as its forward takes them.

    Returns:
        The inputs.

    Raises:
        ConfigError: If there are none, or one holds values that are not finite.
    """
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    return list(read_batches(batches, device, to="compress on", why="widths are decided by"))


def halves(given: Sequence[Inputs], compared: int) -> tuple[list[Inputs], list[Inputs]]:
    """Part inputs in two: to heal on, and to compare on. Batches stay whole where there are two.

    Args:
        given: All inputs.
        compared: How many plans are compared on, at most.

    Returns:
        One half, and as many of the other.

    Raises:
        ConfigError: If there is only one.
    """
    if len(given) > 1:
        return list(given[::2]), first(given[1::2], compared)
    (alone,) = given
    size = alone.batch
    if size is None or size < 2:
        raise errors.ConfigError(
            f"There is one input to compress on: {alone.describe()}.\n"
            "Why: plans are compared on inputs that they were not healed on.\n"
            "Hint: pass a few hundred."
        )
    half = size // 2
    return [alone.part(slice(half))], first([alone.part(slice(half, None))], compared)


def first(batches: Sequence[Inputs], count: int) -> list[Inputs]:
    """Return the first batches that hold so many inputs, the last of them cut."""
    chosen: list[Inputs] = []
    for batch in batches:
        size = batch.batch or 1
        if size > count and batch.batch is not None:
            batch = batch.part(slice(count))
        chosen.append(batch)
        count -= size
        if count <= 0:
            break
    return chosen
