"""Bicubic scaling of whole images, smoothed where they shrink, as MATLAB's ``imresize`` does it.

Keys, "Cubic Convolution Interpolation for Digital Image Processing" (1981), with a = -0.5, which is
also what Pillow computes. Low-resolution images of the published benchmarks are made this way.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

PEAK = 255
"""Largest pixel value."""


def smaller(pixels: Tensor, scale: int) -> Tensor:
    """Shrink an image.

    Args:
        pixels: uint8, shape ``[c, h, w]``, both sides a multiple of the scale. Not changed.
        scale: How many times smaller.

    Returns:
        uint8, shape ``[c, h / scale, w / scale]``.

    Example:
        >>> import torch
        >>> smaller(torch.full((3, 8, 12), 7, dtype=torch.uint8), 4).shape
        torch.Size([3, 2, 3])
    """
    _, height, width = pixels.shape
    return _resized(pixels, height // scale, width // scale)


def larger(pixels: Tensor, scale: int) -> Tensor:
    """Enlarge an image.

    Args:
        pixels: uint8, shape ``[c, h, w]``. Not changed.
        scale: How many times larger.

    Returns:
        uint8, shape ``[c, h * scale, w * scale]``.
    """
    _, height, width = pixels.shape
    return _resized(pixels, height * scale, width * scale)


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    # Without `antialias`, PyTorch computes with a = -0.75 and skips pixels where an image shrinks.
    values = functional.interpolate(
        pixels[None].float(), (height, width), mode="bicubic", antialias=True
    )
    return values[0].clamp(0, PEAK).round().to(pixels.dtype)
