"""The network that held the record for 94 % on CIFAR-10, whose widths were set by hand.

Six 3x3 convolutions of 64, 64, 256, 256, 256 and 256 channels after a fixed 2x2 one that whitens
the image. Keller Jordan, "94% on CIFAR-10 in 3.29 Seconds on a Single GPU" (arXiv:2404.00498). Here
it is trained by the schedule of `parents.py`: its own (Muon, look-ahead, test-time augmentation) is
not what is asked about.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

WIDTHS = (64, 256, 256)
PATCH = 2
WHITENING = 2 * 3 * PATCH**2
LEAST = 5e-4
"""Added to variances before they are divided by."""
SCALE = 1 / 9
"""Of the scores, so that they start small."""


class SpeedRecord(nn.Module):
    """Maps images of 3x32x32 to ten scores."""

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, WHITENING, PATCH)
        self.whiten.requires_grad_(False)
        blocks, channels = [], WHITENING
        for width in WIDTHS:
            first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
            second = nn.Conv2d(width, width, 3, padding=1, bias=False)
            for convolution in (first, second):
                # As far as there are as many inputs, an output starts as one of them.
                nn.init.dirac_(convolution.weight[: convolution.in_channels].data)
            blocks += [
                *(first, nn.MaxPool2d(2), nn.BatchNorm2d(width), nn.GELU()),
                *(second, nn.BatchNorm2d(width), nn.GELU()),
            ]
            channels = width
        self.blocks = nn.Sequential(*blocks)
        self.pool = nn.AdaptiveMaxPool2d(1)
        self.head = nn.Linear(channels, 10, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        features = self.blocks(nn.functional.gelu(self.whiten(images)))
        return SCALE * self.head(self.pool(features).flatten(1))

    @torch.no_grad()
    def set_whitening(self, images: Tensor) -> None:
        """Give the first layer the directions in which patches of images vary.

        Args:
            images: As the network is given them.
        """
        patches = nn.functional.unfold(images, PATCH).transpose(1, 2).flatten(0, 1)
        values, directions = torch.linalg.eigh(patches.T @ patches / len(patches))
        scaled = (directions / (values + LEAST).sqrt()).T.reshape(-1, 3, PATCH, PATCH)
        self.whiten.weight.copy_(torch.cat([scaled, -scaled]))
        nn.init.zeros_(self.whiten.bias)
