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
    generator = torch.Generator(device="cpu").manual_seed(seed)
    top, left = torch.randint(0, 2 * pixels + 1, (2, count), generator=generator)
    padded = functional.pad(images, (pixels, pixels, pixels, pixels))
    # A view of every crop there is: [b, c, offsets, offsets, h, w].
    crops = padded.unfold(2, height, 1).unfold(3, width, 1)
    picked = torch.arange(count, device=images.device)
    return crops[picked, :, top.to(images.device), left.to(images.device)]


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
    generator = torch.Generator(device="cpu").manual_seed(seed)
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    where = mirrored.to(images.device).reshape(-1, 1, 1, 1)
    return torch.where(where, images.flip(-1), images)


def random_orientation(images: Tensor, *, seed: int) -> Tensor:
    """Mirror every image left to right, top to bottom and along its diagonal, each or not.

    That makes each of the eight orientations of a square equally likely.

    Args:
        images: Shape ``[b, c, n, n]``. Not changed.
        seed: Determines the orientations completely.

    Returns:
        A new tensor of the same shape and dtype.

    Example:
        >>> images = torch.arange(4).reshape(1, 1, 2, 2).repeat(200, 1, 1, 1)
        >>> len(random_orientation(images, seed=0).unique(dim=0))
        8
    """
    generator = torch.Generator(device="cpu").manual_seed(seed)
    chosen = (torch.rand(3, len(images), 1, 1, 1, generator=generator) < 0.5).to(images.device)
    images = torch.where(chosen[0], images.flip(-1), images)
    images = torch.where(chosen[1], images.flip(-2), images)
    return torch.where(chosen[2], images.transpose(-1, -2), images)
