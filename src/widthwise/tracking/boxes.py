"""Boxes: x, y, width and height in pixels, continuous, from the left upper corner of the frame.

Boxes are float64 tensors of shape ``[n, 4]``. The left edge of the first pixel is 0, that of the
second 1. A row of NaN is a box that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from widthwise.errors import ConfigError


def overlap(first: Tensor, second: Tensor) -> Tensor:
    """Divide what two boxes share by what they cover together (intersection over union).

    Args:
        first: Boxes, shape ``[n, 4]``. Not changed.
        second: As many others.

    Returns:
        Shares in ``[0, 1]``, shape ``[n]``; 0 where both boxes are empty, NaN where one is unknown.

    Example:
        >>> one = torch.tensor([[0.0, 0.0, 4.0, 2.0]])
        >>> overlap(one, torch.tensor([[2.0, 0.0, 4.0, 2.0]]))
        tensor([0.3333], dtype=torch.float64)
    """
    first, second = first.double(), second.double()
    start = torch.maximum(first[:, :2], second[:, :2])
    stop = torch.minimum(first[:, :2] + first[:, 2:], second[:, :2] + second[:, 2:])
    shared = (stop - start).clamp(min=0).prod(dim=1)
    together = first[:, 2:].prod(dim=1) + second[:, 2:].prod(dim=1) - shared
    # Where both are empty, 0 / 0 would look like an unknown box.
    empty = together == 0
    return (shared / together.masked_fill(empty, 1)).clamp(max=1)


def centres(boxes: Tensor) -> Tensor:
    """Return the middles of boxes.

    Args:
        boxes: Shape ``[n, 4]``. Not changed.

    Returns:
        x and y in pixels, shape ``[n, 2]``.

    Example:
        >>> centres(torch.tensor([[10.0, 20.0, 4.0, 2.0]]))
        tensor([[12., 21.]], dtype=torch.float64)
    """
    boxes = boxes.double()
    return boxes[:, :2] + boxes[:, 2:] / 2


def known(boxes: Tensor) -> Tensor:
    """Tell which boxes can be used: all four numbers finite, and an area.

    Args:
        boxes: Shape ``[n, 4]``.

    Returns:
        bool, shape ``[n]``.

    Example:
        >>> known(torch.tensor([[0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 0.0, 2.0]]))
        tensor([ True, False])
    """
    return boxes.isfinite().all(dim=1) & (boxes[:, 2:] > 0).all(dim=1)


def clipped(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Cut off what lies outside of the frame.

    Args:
        boxes: Shape ``[n, 4]``. Not changed.
        size: Height and width of the frame in pixels.

    Returns:
        Boxes of the same shape; empty ones where nothing is left, NaN where they were unknown.

    Example:
        >>> clipped(torch.tensor([[-2.0, 1.0, 6.0, 9.0]]), (8, 10))
        tensor([[0., 1., 4., 7.]], dtype=torch.float64)
    """
    height, width = size
    corner = torch.tensor([width, height], dtype=torch.float64)
    boxes = boxes.double()
    start = boxes[:, :2].clamp(min=torch.zeros(2, dtype=torch.float64), max=corner)
    stop = (boxes[:, :2] + boxes[:, 2:]).clamp(min=torch.zeros_like(corner), max=corner)
    return torch.cat([start, stop - start], dim=1)


def check_box(box: Sequence[float], size: tuple[int, int]) -> Tensor:
    """Check the box that a tracker is to start from.

    A part of it may lie outside of the frame, as it does in published sets.

    Args:
        box: x, y, width and height in pixels.
        size: Height and width of the frame in pixels.

    Returns:
        The box, float64, shape ``[4]``.

    Raises:
        ConfigError: If it has not four numbers, they are not finite, it has no area, or it lies
            outside of the frame.

    Example:
        >>> check_box((30, 20, 40, 40), (240, 320))
        tensor([30., 20., 40., 40.], dtype=torch.float64)
    """
    shown = ",".join(f"{number:g}" for number in box)
    height, width = size
    checked = torch.tensor([float(number) for number in box], dtype=torch.float64)
    if len(checked) != 4:
        raise _wrong(shown, f"has {len(checked)} numbers, expected 4")
    if not checked.isfinite().all():
        raise _wrong(shown, "has a number that is not finite")
    if not (checked[2:] > 0).all():
        raise _wrong(shown, f"has no area: width {checked[2]:g}, height {checked[3]:g}")
    if not known(clipped(checked[None], size)).all():
        raise _wrong(shown, f"lies outside of the frame, which is {width} wide and {height} high")
    return checked


def _wrong(box: str, problem: str) -> ConfigError:
    return ConfigError(
        f"The box `{box}` {problem}.\n"
        "Why: a tracker learns what to follow from the pixels inside of the first box.\n"
        "Hint: give x, y, width and height in pixels; x and y of the upper left corner count "
        "from 0."
    )
