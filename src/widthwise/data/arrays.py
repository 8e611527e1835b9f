"""Image data sets small enough to live in memory."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Split:
    """Images and their labels."""

    images: Tensor
    """Raw values, uint8. Shape ``[n, c, h, w]``."""
    labels: Tensor
    """Class numbers, int64. Shape ``[n]``."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class ImageClasses:
    """An image classification data set: two splits, and what normalises its images."""

    train: Split
    test: Split
    classes: tuple[str, ...]
    """Name of every class, by number."""
    mean: tuple[float, ...]
    """Mean raw value of every image channel over the training split."""
    std: tuple[float, ...]
    """Standard deviation of the raw values of every image channel over the training split."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Shape of one image, ``(c, h, w)``."""
        channels, height, width = self.train.images.shape[1:]
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
    values = images.to(torch.float64)
    mean = values.mean(dim=(0, 2, 3))
    std = values.std(dim=(0, 2, 3), correction=0)
    return tuple(mean.tolist()), tuple(std.tolist())
