"""Photographs in batches: random crops to train on, whole ones to test on.

Both give clean pixels together with numbers, from which a task makes what the network gets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from widthwise.data.photographs import Photograph
from widthwise.errors import DataError


class Crops:
    """Random squares out of photographs, as `widthwise.data.batches.Numbered`.

    A crop is decided by a seed and its number alone: first the photograph, all of them being
    equally likely, then the place.

    Args:
        photographs: What is cut.
        side: Height and width of a crop in pixels.
        count: How many crops there are.

    Raises:
        DataError: If a photograph is smaller than a crop. All such photographs are named.
    """

    def __init__(self, photographs: Sequence[Photograph], *, side: int, count: int) -> None:
        small = [photo for photo in photographs if min(photo.pixels.shape[1:]) < side]
        if small:
            named = "\n    ".join(f"`{photo.name}`: {_size(photo)}" for photo in small[:8])
            more = f"\n    and {len(small) - 8} more" if len(small) > 8 else ""
            raise DataError(
                f"These photographs are smaller than the crops of {side}x{side} pixels that are "
                f"trained on:\n    {named}{more}\n"
                "Hint: set a smaller `task.patch`, or remove them."
            )
        self.photographs = photographs
        self.side = side
        self.count = count

    def __len__(self) -> int:
        return self.count

    def first(self, count: int) -> Tensor:
        """Give the first crops of one fixed draw; see `batch`."""
        return self.batch(range(min(count, self.count)), seed=None)[0]

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> tuple[Tensor, Tensor]:
        """Cut some of the crops.

        Args:
            numbers: Which, from 0.
            seed: Decides, with the number of a crop, what it shows; None stands for 0.

        Returns:
            Pixels, uint8, shape ``[b, c, side, side]``, and the numbers.
        """
        return torch.stack([self._cut(number, seed or 0) for number in numbers]), _tensor(numbers)

    def _cut(self, number: int, seed: int) -> Tensor:
        generator = np.random.default_rng([seed, number])
        pixels = self.photographs[int(generator.integers(len(self.photographs)))].pixels
        top, left = generator.integers(np.array(pixels.shape[1:]) - self.side + 1)
        return pixels[:, top : top + self.side, left : left + self.side]


class Whole:
    """Whole photographs, which may differ in size; or the middle of them.

    Args:
        photographs: What is shown.
        largest_side: Longer sides are cut to this many pixels around the middle; None for no cut.
    """

    def __init__(self, photographs: Sequence[Photograph], *, largest_side: int | None) -> None:
        self.pixels = [_middle(photo.pixels, largest_side) for photo in photographs]

    def __len__(self) -> int:
        return len(self.pixels)

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> tuple[list[Tensor], Tensor]:
        """Give some of the photographs.

        Args:
            numbers: Which, from 0.
            seed: Decides nothing.

        Returns:
            Pixels of each, uint8, shape ``[c, h, w]``, and the numbers.
        """
        return [self.pixels[number] for number in numbers], _tensor(numbers)


def _middle(pixels: Tensor, largest: int | None) -> Tensor:
    if largest is None:
        return pixels
    _, height, width = pixels.shape
    high, wide = min(height, largest), min(width, largest)
    top, left = (height - high) // 2, (width - wide) // 2
    return pixels[:, top : top + high, left : left + wide]


def _tensor(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


def _size(photograph: Photograph) -> str:
    _, height, width = photograph.pixels.shape
    return f"{height}x{width}"
