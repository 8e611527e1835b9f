"""What a building block of a random network is."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn


class Block(nn.Module):
    """Maps images ``[b, width, 8, 8]`` to ``[b, out, 8, 8]``.

    Its constructor takes the number of channels it gets and a size to choose its own widths by.
    """

    out: int
    """Channels it makes."""
    freezes: ClassVar[bool] = False
    """Whether what it does leaves a person, too, no choice of its widths."""
    fixed: ClassVar[tuple[str, ...]] = ()
    """Layers whose outputs are positions, classes or places, not channels."""
    counts_one_differently: ClassVar[bool] = False
    """Whether it has an einsum: PyTorch multiplies element by element where one index is left."""
    detaches: ClassVar[bool] = False
    """Whether it computes on values without their gradients, which differences do not see."""
    random_in_training: ClassVar[bool] = False
    """Whether it draws numbers that depend on widths, so that training cannot be compared."""


def conv(width: int, out: int, kernel: int = 3, **options: int | bool) -> nn.Conv2d:
    """Build a convolution that keeps height and width."""
    return nn.Conv2d(width, out, kernel, padding=kernel // 2, **options)


def tokens(x: Tensor) -> Tensor:
    """Lay an image out as ``[b, positions, channels]``."""
    return x.flatten(2).transpose(1, 2)


def image(x: Tensor) -> Tensor:
    """Lay 64 tokens out as an image of 8x8."""
    return x.transpose(1, 2).reshape(x.shape[0], -1, 8, 8)


class LayerNorm2d(nn.LayerNorm):
    """A layer norm over the channels of an image."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise at every position."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def pooled(x: Tensor) -> Tensor:
    """Average over space: ``[b, channels]``."""
    return torch.mean(x, (2, 3))
