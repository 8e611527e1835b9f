"""UNet for images: down five levels and up again, with the maps of the way down laid beside.

Ronneberger et al., "U-Net: Convolutional Networks for Biomedical Image Segmentation" (MICCAI 2015,
arXiv:1505.04597), as a denoiser without normalisation, as in the networks that DHP (Li et al.,
2020, arXiv:2003.13683) starts from.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet(nn.Module):
    """Two 3x3 convolutions with ReLU per level, max pooling down, transposed convolutions up.

    Images of any size are taken: the last row and column are repeated up to a whole multiple of
    what the levels halve, and cut off again. Weights of convolutions have Xavier's normal
    initialisation, and biases are zero.

    Args:
        in_channels: Channels of the image: 1 for grey, 3 for colour.
        features: Channels of the first level; every level has twice as many as the one above.
        levels: Levels.

    Raises:
        ValueError: If a number is below 1.

    Example:
        >>> UNet(features=4, levels=3)(torch.zeros(2, 1, 30, 21)).shape
        torch.Size([2, 1, 30, 21])
    """

    def __init__(self, *, in_channels: int = 1, features: int = 32, levels: int = 5) -> None:
        super().__init__()
        if min(in_channels, features, levels) < 1:
            raise ValueError(
                "UNet needs at least one input channel, feature and level: got "
                f"{in_channels}, {features} and {levels}."
            )
        widths = [features * 2**level for level in range(levels)]
        self.multiple = 2 ** (levels - 1)
        self.down = nn.ModuleList(
            _level(entering, width)
            for entering, width in zip([in_channels, *widths], widths, strict=False)
        )
        self.pool = nn.MaxPool2d(2)
        upwards = widths[-2::-1]
        self.enlarge = nn.ModuleList(
            nn.ConvTranspose2d(2 * width, width, 2, stride=2) for width in upwards
        )
        self.up = nn.ModuleList(_level(2 * width, width) for width in upwards)
        self.tail = nn.Conv2d(features, in_channels, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_normal_(module.weight)
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        below, beside = -height % self.multiple, -width % self.multiple
        out = images
        if below or beside:
            out = functional.pad(images, (0, beside, 0, below), mode="replicate")
        kept = []
        for number, level in enumerate(self.down):
            out = level(out if number == 0 else self.pool(out))
            kept.append(out)
        for enlarge, level, aside in zip(self.enlarge, self.up, kept[-2::-1], strict=True):
            out = level(torch.cat([enlarge(out), aside], dim=1))
        out = self.tail(out)
        return out[:, :, :height, :width] if below or beside else out


def _level(entering: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(entering, width, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
    )
