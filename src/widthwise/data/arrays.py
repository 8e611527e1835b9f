"""Image data sets: a training and a test split, in memory or in files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""Raw images ``[b, c, h, w]`` (uint8) and labels ``[b]`` (int64)."""

_PART = 1_000
_ACROSS = (0, 2, 3)


class Images(Protocol):
    """Images with labels, wherever they are."""

    def __len__(self) -> int:
        """Count the images."""
        ...

    def first(self, count: int) -> Tensor:
        """Give the first raw images.

        Args:
            count: How many; fewer come if there are not as many.

        Returns:
            Raw values, uint8. Shape ``[n, c, h, w]``.
        """
        ...

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Batch:
        """Give some of the images and their labels.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides, with the number of an image, the part that is cut out of it where images
                come from files of any size; None for the middle.

        Returns:
            The images, raw, and their labels.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels, in memory."""

    images: Tensor
    """Raw values, uint8. Shape ``[n, c, h, w]``."""
    labels: Tensor
    """Class numbers, int64. Shape ``[n]``."""

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> Tensor:
        """Give the first raw images.

        Args:
            count: How many; fewer come if there are not as many.

        Returns:
            Raw values, uint8. Shape ``[n, c, h, w]``.
        """
        return self.images[:count]

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Batch:
        """Give some of the images and their labels.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides nothing, as nothing is cut out of images in memory.

        Returns:
            The images, raw, and their labels.
        """
        # One operation for all of them, and not `self.images[chosen]`, which copies value by value.
        chosen = torch.as_tensor(numbers)
        return self.images.index_select(0, chosen), self.labels.index_select(0, chosen)


class LateSplit:
    """Images and their labels, in memory from when they are first needed.

    Names and numbers of classes can then be had without waiting for all the images.

    Args:
        count: Number of images.
        load: Called with a number of images; loads so many, from the first on.
    """

    def __init__(self, count: int, load: Callable[[int], Split]) -> None:
        self.count = count
        self.load = load

    def __len__(self) -> int:
        return self.count

    @cached_property
    def loaded(self) -> Split:
        """All of it, loaded when it is first asked for."""
        return self.load(self.count)

    def first(self, count: int) -> Tensor:
        """Give the first raw images, without loading the others.

        Args:
            count: How many; fewer come if there are not as many.

        Returns:
            Raw values, uint8. Shape ``[n, c, h, w]``.
        """
        return self.load(min(count, self.count)).images

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Batch:
        """Give some of the images and their labels; see `Split.batch`."""
        return self.loaded.batch(numbers, seed=seed)


@dataclass(frozen=True, kw_only=True)
class ImageClasses:
    """An image classification data set: two splits, and what normalises its images."""

    train: Images
    test: Images
    classes: tuple[str, ...]
    """Name of every class, by number."""
    mean: tuple[float, ...]
    """Mean raw value (0 to 255 for most) of every image channel, as published or as measured over
    the training split."""
    std: tuple[float, ...]
    """Standard deviation of the raw values of every image channel, from the same source."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image, ``(c, h, w)``."""
        channels, height, width = self.train.first(1).shape[1:]
        return channels, height, width


def channel_statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Compute mean and standard deviation of every channel.

    Args:
        images: Raw values, any real dtype. Shape ``[n, c, h, w]``.

    Returns:
        Means and standard deviations, one per channel, in raw units.

    Example:
        >>> channel_statistics(torch.tensor([0, 2], dtype=torch.uint8).reshape(2, 1, 1, 1))
        ((1.0,), (1.0,))
    """
    # In parts: a large set would need eight times its memory as float64.
    parts = images.split(_PART)
    count = images.numel() // images.shape[1]
    mean = sum(part.to(torch.float64).sum(dim=_ACROSS) for part in parts) / count
    centre = torch.as_tensor(mean).reshape(-1, 1, 1)
    squares = sum((part.to(torch.float64) - centre).square().sum(dim=_ACROSS) for part in parts)
    std = (torch.as_tensor(squares) / count).sqrt()
    return tuple(torch.as_tensor(mean).tolist()), tuple(std.tolist())
