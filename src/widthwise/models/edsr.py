"""EDSR: residual blocks without normalisation, and sub-pixel convolutions that enlarge images.

Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution" (CVPRW 2017,
arXiv:1707.02921). The mean colour of DIV2K is a buffer here, so that no optimizer changes it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from widthwise.models.upsampling import upsampler

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""Mean red, green and blue of its training images, on the scale of 0 to 1."""


class EDSR(nn.Module):
    """A convolution, residual blocks, an upsampler, a convolution; the mean colour is taken out.

    Weights have PyTorch's default initialisation.

    Args:
        in_channels: Channels of the image: 1 for grey, 3 for colour.
        features: Channels of every layer but the last.
        blocks: Residual blocks.
        scale: How many times larger the output is: 2, 3 or 4.
        res_scale: What a block's result is multiplied by before it is added: 0.1 with 256
            features, for stability.

    Raises:
        ValueError: If a number is below 1, or there is no upsampler for the scale.

    Example:
        >>> EDSR(features=8, blocks=2, scale=3)(torch.zeros(2, 3, 10, 12)).shape
        torch.Size([2, 3, 30, 36])
    """

    mean: Tensor

    def __init__(
        self,
        *,
        in_channels: int = 3,
        features: int = 128,
        blocks: int = 8,
        scale: int = 4,
        res_scale: float = 1.0,
    ) -> None:
        super().__init__()
        if min(in_channels, features, blocks) < 1:
            raise ValueError(
                "EDSR needs at least one input channel, feature and block: got "
                f"{in_channels}, {features} and {blocks}."
            )
        mean = torch.tensor(DIV2K_MEAN)
        if in_channels != len(DIV2K_MEAN):
            mean = mean.mean().repeat(in_channels)
        self.register_buffer("mean", mean.reshape(1, -1, 1, 1))
        self.head = nn.Conv2d(in_channels, features, 3, padding=1)
        self.body = nn.Sequential(
            *(_Block(features, res_scale) for _ in range(blocks)),
            nn.Conv2d(features, features, 3, padding=1),
        )
        self.upsample = upsampler(features, scale)
        self.tail = nn.Conv2d(features, in_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        out = self.head(images - self.mean)
        return self.tail(self.upsample(out + self.body(out))) + self.mean


class _Block(nn.Module):
    def __init__(self, features: int, res_scale: float) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.res_scale = res_scale

    def forward(self, images: Tensor) -> Tensor:
        return images + self.conv2(self.relu(self.conv1(images))) * self.res_scale
