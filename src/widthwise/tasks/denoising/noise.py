"""White Gaussian noise: fresh in every training step, always the same in tests."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from widthwise.data.batches import derived_seed
from widthwise.tasks.image_quality import PEAK

TEST_SEED = 0
"""Noise of test images belongs to the task: no seed of a run changes it."""


def noisy(clean: Tensor, *, sigma: float, seed: int) -> Tensor:
    """Add noise; nothing is clipped or rounded.

    Args:
        clean: Pixels on the scale of 0 to 1. Not changed.
        sigma: Standard deviation of the noise on the scale of 0 to 255.
        seed: Determines the noise completely, on one kind of device.

    Returns:
        A new tensor.
    """
    generator = torch.Generator(device=clean.device).manual_seed(seed)
    noise = torch.randn(clean.shape, generator=generator, device=clean.device)
    return clean + noise * (sigma / PEAK)


def noisy_test_image(pixels: Tensor, number: int, *, sigma: float) -> Tensor:
    """Add to a test image the noise that belongs to its number.

    Args:
        pixels: uint8, shape ``[c, h, w]``, on any device.
        number: Of the image among the test images.
        sigma: As of `noisy`.

    Returns:
        The noisy image on the scale of 0 to 1, on the device of the pixels.
    """
    # Drawn on the CPU, so that every device is tested on the same noise.
    clean = pixels.cpu().float() / PEAK
    return noisy(clean, sigma=sigma, seed=derived_seed(TEST_SEED, number)).to(pixels.device)


def padded(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are a multiple of a number.

    Args:
        images: Shape ``[b, c, h, w]``.
        multiple: The number, at least 1.

    Returns:
        The images, in the corner at the top left of larger ones where they had to grow.
    """
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")
