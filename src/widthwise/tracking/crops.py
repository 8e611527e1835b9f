"""Square pieces of frames, as trackers look at them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from widthwise.errors import DataError


def context_side(width: float, height: float) -> float:
    """Compute the side of the square that shows a target with its surroundings.

    Args:
        width: Of the target's box, in pixels.
        height: The same.

    Returns:
        sqrt((w + p)(h + p)) with p = (w + h) / 2, in pixels (Bertinetto et al., "Fully-
        Convolutional Siamese Networks for Object Tracking", 2016).

    Raises:
        DataError: If the box has no area.

    Example:
        >>> context_side(40, 40)
        80.0
    """
    if not (width > 0 and height > 0 and math.isfinite(width * height)):
        raise DataError(
            f"A box of {width:g} x {height:g} pixels has no area to look at.\n"
            "Hint: give x, y, width and height in pixels, width and height above 0."
        )
    padding = (width + height) / 2
    return math.sqrt((width + padding) * (height + padding))


def cut(frame: Tensor, centre: Sequence[float], sides: Sequence[float], *, size: int) -> Tensor:
    """Cut squares out of a frame around one point, and resize them.

    What lies outside of the frame has the frame's mean colour.

    Args:
        frame: uint8, shape ``[3, h, w]``. Not changed.
        centre: x and y of the middle, in pixels; the left edge of the first pixel is 0.
        sides: Side of each square, in pixels.
        size: Height and width of the results.

    Returns:
        Values of 0 to 1, shape ``[n, 3, size, size]``, one per side.

    Example:
        >>> frame = torch.full((3, 20, 30), 255, dtype=torch.uint8)
        >>> cut(frame, (15, 10), [8, 16], size=4).shape
        torch.Size([2, 3, 4, 4])
    """
    x, y = centre
    height, width = frame.shape[1:]
    mean = frame.float().mean((1, 2), keepdim=True)
    # Only what the largest square covers is touched, and pixels are averaged where it is shrunk.
    largest = max(sides)
    reach = largest / 2 + 2 * _shrink(largest, size)
    left = min(max(math.floor(x - reach), 0), width - 1)
    top = min(max(math.floor(y - reach), 0), height - 1)
    right = max(min(math.ceil(x + reach), width), left + 1)
    bottom = max(min(math.ceil(y + reach), height), top + 1)
    piece = frame[:, top:bottom, left:right].float() - mean
    crops = [_resampled(piece, (left, top), (x, y), side, size) for side in sides]
    return (torch.stack(crops) + mean) / 255


def _shrink(side: float, size: int) -> int:
    """Pixels of the frame that are averaged into one, in both directions."""
    return max(1, round(side / size))


def _resampled(
    piece: Tensor, corner: tuple[int, int], centre: tuple[float, float], side: float, size: int
) -> Tensor:
    """Sample a square of a piece whose mean colour is 0, which is what lies around it."""
    shrink = _shrink(side, size)
    left, top = (start - start % shrink for start in corner)
    if shrink > 1:
        height, width = piece.shape[1:]
        # Blocks are those of the frame, wherever the piece begins.
        before = corner[0] - left, corner[1] - top
        after = -(width + before[0]) % shrink, -(height + before[1]) % shrink
        padded = functional.pad(piece, (before[0], after[0], before[1], after[1]))
        piece = functional.avg_pool2d(padded[None], shrink)[0]
    height, width = piece.shape[1:]
    steps = ((torch.arange(size) + 0.5) / size - 0.5) * side / shrink
    # grid_sample without corners: -1 and 1 are the outer edges of the first and last pixel.
    columns = ((centre[0] - left) / shrink + steps) * 2 / width - 1
    rows = ((centre[1] - top) / shrink + steps) * 2 / height - 1
    grid = torch.stack(
        [columns[None, :].expand(size, size), rows[:, None].expand(size, size)], dim=-1
    )
    return functional.grid_sample(piece[None], grid[None].float(), align_corners=False)[0]
