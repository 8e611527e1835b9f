"""Augmentation of whole batches, on the device they are on."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def random_shift(images: Tensor, *, pixels: int, seed: int) -> Tensor:
    """Shift every image by its own random offset, with zeros moving in.

    The same as padding with zeros and cropping at random, for the whole batch at once.

    Args:
        images: Shape ``[b, c, h, w]``. Not changed.
        pixels: Largest shift in either direction, along both height and width.
        seed: Determines the offsets completely.

    Returns:
        A new tensor of the same shape and dtype.

    Example:
        >>> random_shift(torch.ones(2, 1, 4, 4), pixels=0, seed=0).sum().item()
        32.0
    """
    count, _, height, width = images.shape
    # Drawn on the CPU: generators of different devices give different numbers for one seed.
    generator = torch.Generator().manual_seed(seed)
    offsets = torch.randint(0, 2 * pixels + 1, (2, count, 1), generator=generator)
    top, left = offsets.to(images.device)
    rows = top + torch.arange(height, device=images.device)
    columns = left + torch.arange(width, device=images.device)
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    picked = torch.arange(count, device=images.device)[:, None, None]
    # Indexing with [b], rows and columns puts the sliced channel dim last.
    return padded[picked, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


def random_flip(images: Tensor, *, seed: int) -> Tensor:
    """Mirror every image left to right with probability one half.

    Args:
        images: Shape ``[b, c, h, w]``. Not changed.
        seed: Determines completely which are mirrored.

    Returns:
        A new tensor of the same shape and dtype.

    Example:
        >>> images = torch.tensor([1, 2]).repeat(100, 1, 1, 1)
        >>> sorted(random_flip(images, seed=0)[:, 0, 0].unique(dim=0).tolist())
        [[1, 2], [2, 1]]
    """
    generator = torch.Generator().manual_seed(seed)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    where = mirrored.to(images.device).reshape(-1, 1, 1, 1)
    return torch.where(where, images.flip(-1), images)
