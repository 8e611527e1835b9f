"""Pairs of images in batches: random crops to train on, whole ones to test on.

Both give what a network is given and what it should come near to, together with numbers, from which
a task makes what the network gets.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from widthwise.data.pairs import Pair, SomePair
from widthwise.errors import DataError


class Crops:
    """Random squares out of pairs, as `widthwise.data.batches.Numbered`.

    A crop is decided by a seed and its number alone: first the pair, all of them being equally
    likely, then the place.

    Args:
        pairs: What is cut.
        side: Height and width of the clean part of a crop in pixels, a multiple of the scale.
        count: How many crops there are.
        scale: Side of a clean image in sides of what is given.

    Raises:
        DataError: If a clean image is smaller than a crop. All such images are named.
    """

    def __init__(self, pairs: Sequence[SomePair], *, side: int, count: int, scale: int = 1) -> None:
        small = [pair for pair in pairs if min(pair.size) < side]
        if small:
            named = "\n    ".join(f"`{pair.name}`: {_size(pair)}" for pair in small[:8])
            more = f"\n    and {len(small) - 8} more" if len(small) > 8 else ""
            raise DataError(
                f"These photographs are smaller than the crops of {side}x{side} pixels that are "
                f"trained on:\n    {named}{more}\n"
                "Hint: set a smaller `task.patch`, or remove them."
            )
        self.pairs = pairs
        self.side = side
        self.count = count
        self.scale = scale

    def __len__(self) -> int:
        return self.count

    def first(self, count: int) -> tuple[Tensor, Tensor]:
        """Give the first crops of one fixed draw; see `batch`."""
        given, clean, _ = self.batch(range(min(count, self.count)), seed=None)
        return given, clean

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Cut some of the crops.

        Args:
            numbers: Which, from 0.
            seed: Decides, with the number of a crop, what it shows; None stands for 0.

        Returns:
            What is given, uint8, shape ``[b, c, side / scale, side / scale]``; clean pixels,
            ``[b, c, side, side]``; and the numbers.
        """
        given, clean = zip(*(self._cut(number, seed or 0) for number in numbers), strict=True)
        return torch.stack(given), torch.stack(clean), _tensor(numbers)

    def _cut(self, number: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = np.random.default_rng([seed, number])
        pair = self.pairs[int(generator.integers(len(self.pairs)))].read()
        side, scale = self.side // self.scale, self.scale
        top, left = generator.integers(np.array(pair.given.shape[1:]) - side + 1)
        return (
            pair.given[:, top : top + side, left : left + side],
            pair.clean[:, top * scale : (top + side) * scale, left * scale : (left + side) * scale],
        )


class Whole:
    """Whole images, which may differ in size; or the middle of them.

    Args:
        pairs: What is shown.
        largest_side: Longer sides of clean images are cut to this many pixels around the middle;
            None for no cut.
        scale: Side of a clean image in sides of what is given.
    """

    def __init__(
        self, pairs: Sequence[SomePair], *, largest_side: int | None, scale: int = 1
    ) -> None:
        largest = None if largest_side is None else largest_side // scale
        self.pairs = [_middle(pair.read(), largest, scale) for pair in pairs]

    def __len__(self) -> int:
        return len(self.pairs)

    def batch(
        self, numbers: Sequence[int], *, seed: int | None
    ) -> tuple[list[Tensor], list[Tensor], Tensor]:
        """Give some of the images.

        Args:
            numbers: Which, from 0.
            seed: Decides nothing.

        Returns:
            Of each what is given and the clean pixels, uint8, shape ``[c, h, w]``; and the numbers.
        """
        chosen = [self.pairs[number] for number in numbers]
        return [p.given for p in chosen], [p.clean for p in chosen], _tensor(numbers)


def _middle(pair: Pair, largest: int | None, scale: int) -> Pair:
    """Cut both parts of a pair, where sides of what is given are longer than ``largest``."""
    if largest is None:
        return pair
    _, height, width = pair.given.shape
    high, wide = min(height, largest), min(width, largest)
    top, left = (height - high) // 2, (width - wide) // 2

    def cut(pixels: Tensor, times: int) -> Tensor:
        below, beside = (top + high) * times, (left + wide) * times
        return pixels[:, top * times : below, left * times : beside]

    return Pair(name=pair.name, given=cut(pair.given, 1), clean=cut(pair.clean, scale))


def _tensor(numbers: Sequence[int]) -> Tensor:
    return torch.tensor(list(numbers), dtype=torch.int64)


def _size(pair: SomePair) -> str:
    height, width = pair.size
    return f"{height}x{width}"
