"""Sub-pixel convolution: a convolution makes what a pixel becomes, and pixels are put side by side.

Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network" (CVPR 2016, arXiv:1609.05158).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn


def upsampler(
    features: int, scale: int, activation: Callable[[], nn.Module] = nn.Identity
) -> nn.Sequential:
    """Build the layers that enlarge maps by doubling, or by tripling once.

    Args:
        features: Channels of the maps, before and after.
        scale: 3, or a power of 2.
        activation: Makes what follows each step.

    Returns:
        A convolution and a shuffle per step.

    Raises:
        ValueError: If the scale is another.

    Example:
        >>> import torch
        >>> upsampler(8, 4)(torch.zeros(1, 8, 5, 6)).shape
        torch.Size([1, 8, 20, 24])
    """
    steps = [3] if scale == 3 else [2] * (scale.bit_length() - 1)
    if scale < 2 or (scale != 3 and 2 ** len(steps) != scale):
        raise ValueError(f"The scale must be 3, or 2, 4, 8 and so on: got {scale}.")
    return nn.Sequential(
        *(
            nn.Sequential(
                nn.Conv2d(features, features * step**2, 3, padding=1),
                nn.PixelShuffle(step),
                activation(),
            )
            for step in steps
        )
    )
