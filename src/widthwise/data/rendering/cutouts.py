"""Things to paste: pieces of photographs with a soft edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LEAST_SIDE = 24
"""Pixels; smaller pieces show nothing when they are enlarged."""
_AREA = (0.005, 0.2)
"""Share of a photograph that a region has to have."""
_FILL = 0.4
"""Share of its box that a region has to cover at least."""
_ASPECT = 4.0
_PIECE = (0.1, 0.45)
"""Sides of rectangles and ellipses, as shares of the shorter side of the photograph."""


@dataclass(frozen=True, kw_only=True)
class Cutout:
    """A piece of a photograph."""

    pixels: Tensor
    """Values of 0 to 1, shape ``[3, h, w]``; the photograph goes on behind the edge."""
    alpha: Tensor
    """How much of it is seen, 0 to 1, shape ``[h, w]``."""

    def mirrored(self) -> Cutout:
        """Return it the other way round."""
        return Cutout(pixels=self.pixels.flip(2), alpha=self.alpha.flip(1))


def regions_of(regions: Tensor) -> Iterator[Tensor]:
    """Choose regions of a segmentation that can pass for things.

    Those are regions that do not touch the border, cover 0.5 to 20 % of the photograph and 40 % of
    their box, and are at most four times as long as wide.

    Args:
        regions: Number of the region of every pixel, shape ``[h, w]``.

    Yields:
        bool, shape ``[h, w]`` each.

    Example:
        >>> regions = torch.zeros(200, 200)
        >>> regions[50:100, 50:90] = 1
        >>> [int(mask.sum()) for mask in regions_of(regions)]
        [2000]
    """
    border = torch.cat([regions[0], regions[-1], regions[:, 0], regions[:, -1]]).unique()
    for number in regions.unique():
        if number in border:
            continue
        mask = regions == number
        area = int(mask.sum())
        top, bottom, left, right = _span(mask)
        sides = bottom - top, right - left
        if (
            _AREA[0] <= area / mask.numel() <= _AREA[1]
            and min(sides) >= LEAST_SIDE
            and area >= _FILL * sides[0] * sides[1]
            and max(sides) <= _ASPECT * min(sides)
        ):
            yield mask


def cut_out(photograph: Tensor, mask: Tensor) -> Cutout:
    """Cut a region out of a photograph.

    Args:
        photograph: uint8, shape ``[3, h, w]``. Not changed.
        mask: What belongs to the piece, bool, shape ``[h, w]``.

    Returns:
        The piece, with a margin of two pixels where the photograph has them.
    """
    top, bottom, left, right = _span(mask)
    rows = slice(max(top - 2, 0), bottom + 2)
    columns = slice(max(left - 2, 0), right + 2)
    return Cutout(
        pixels=photograph[:, rows, columns].float() / 255,
        alpha=_soft(mask[rows, columns].float()),
    )


def any_piece(photograph: Tensor, random: np.random.Generator) -> Cutout:
    """Cut a rectangle or an ellipse out of a photograph, at random.

    Trackers are to follow anything: pieces that are no things widen what is learned from.

    Args:
        photograph: uint8, shape ``[3, h, w]``. Not changed.
        random: Decides.

    Returns:
        The piece.
    """
    height, width = photograph.shape[1:]
    least = min(LEAST_SIDE, height, width)
    high, wide = (
        int(np.clip(random.uniform(*_PIECE) * min(height, width), least, side))
        for side in (height, width)
    )
    top, left = int(random.integers(height - high + 1)), int(random.integers(width - wide + 1))
    mask = torch.zeros(height, width, dtype=torch.bool)
    if random.random() < 0.5:
        mask[top : top + high, left : left + wide] = True
    else:
        rows = (torch.arange(height)[:, None] + 0.5 - top - high / 2) / (high / 2)
        columns = (torch.arange(width)[None, :] + 0.5 - left - wide / 2) / (wide / 2)
        mask = rows**2 + columns**2 <= 1
    return cut_out(photograph, mask)


def _soft(mask: Tensor) -> Tensor:
    """Blur an edge over about two pixels."""
    kernel = torch.tensor([1.0, 4.0, 6.0, 4.0, 1.0]) / 16
    blurred = functional.pad(mask[None, None], (2, 2, 2, 2))
    blurred = functional.conv2d(blurred, kernel.reshape(1, 1, 5, 1))
    return functional.conv2d(blurred, kernel.reshape(1, 1, 1, 5))[0, 0]


def _span(mask: Tensor) -> tuple[int, int, int, int]:
    """First row, last row + 1, first column and last column + 1 that a mask reaches."""
    rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
