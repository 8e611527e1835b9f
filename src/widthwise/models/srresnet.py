"""SRResNet: residual blocks on small images, and sub-pixel convolutions that enlarge them.

Ledig et al., "Photo-Realistic Single Image Super-Resolution Using a Generative Adversarial Network"
(CVPR 2017, arXiv:1609.04802), with the last convolution of 3x3 and without a normalisation after
the first, as in the networks that DHP (Li et al., 2020, arXiv:2003.13683) starts from.
"""

from __future__ import annotations

from torch import Tensor, nn

from widthwise.models.upsampling import upsampler


class SRResNet(nn.Module):
    """A 9x9 convolution, residual blocks with batch normalisation, an upsampler, a convolution.

    Weights have PyTorch's default initialisation.

    Args:
        in_channels: Channels of the image: 1 for grey, 3 for colour.
        features: Channels of every layer but the last.
        blocks: Residual blocks.
        scale: How many times larger the output is: 2, 3 or 4.

    Raises:
        ValueError: If a number is below 1, or there is no upsampler for the scale.

    Example:
        >>> import torch
        >>> SRResNet(features=8, blocks=2)(torch.zeros(2, 3, 10, 12)).shape
        torch.Size([2, 3, 40, 48])
    """

    def __init__(
        self, *, in_channels: int = 3, features: int = 64, blocks: int = 16, scale: int = 4
    ) -> None:
        super().__init__()
        if min(in_channels, features, blocks) < 1:
            raise ValueError(
                "SRResNet needs at least one input channel, feature and block: got "
                f"{in_channels}, {features} and {blocks}."
            )
        self.head = nn.Conv2d(in_channels, features, 9, padding=4)
        self.act = nn.PReLU()
        self.body = nn.Sequential(
            *(_Block(features) for _ in range(blocks)),
            nn.Conv2d(features, features, 3, padding=1),
            nn.BatchNorm2d(features),
        )
        self.upsample = upsampler(features, scale, nn.PReLU)
        self.tail = nn.Conv2d(features, in_channels, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        out = self.act(self.head(images))
        return self.tail(self.upsample(out + self.body(out)))


class _Block(nn.Module):
    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(features)
        self.act = nn.PReLU()
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(features)

    def forward(self, images: Tensor) -> Tensor:
        return images + self.bn2(self.conv2(self.act(self.bn1(self.conv1(images)))))
