"""DenseNets for small images: three blocks in which every layer sees all layers before it.

Huang et al., "Densely Connected Convolutional Networks" (CVPR 2017, arXiv:1608.06993): the plain
variant of section 4, without bottlenecks and without compression between blocks.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from widthwise.models.options import scaled

STEM_WIDTH = 24
GROWTH = 12


class NormalConv2d(nn.Conv2d):
    """A convolution drawn as in the paper: normal, with variance 2 / (taps x output channels)."""

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        nn.init.kaiming_normal_(self.weight, mode="fan_out")


class NormalLinear(nn.Linear):
    """A linear layer whose weight is normal with variance 1 / inputs, and whose bias is zero."""

    def reset_parameters(self) -> None:
        """Draw the weight anew."""
        nn.init.normal_(self.weight, std=math.sqrt(1 / self.in_features))
        nn.init.zeros_(self.bias)


class DenseLayer(nn.Module):
    """Batch normalisation, ReLU and a 3x3 convolution, whose output is put behind the input.

    Args:
        in_channels: Channels entering; ``growth`` more leave.
        growth: Channels of the convolution.
    """

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(in_channels)
        self.relu = nn.ReLU()
        self.conv = NormalConv2d(in_channels, growth, 3, padding=1, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images, self.conv(self.relu(self.bn(images)))], dim=1)


class Transition(nn.Module):
    """Batch normalisation, ReLU, a 1x1 convolution and average pooling: half the map.

    Args:
        channels: Channels entering and leaving.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv = NormalConv2d(channels, channels, 1, bias=False)
        self.pool = nn.AvgPool2d(2)

    def forward(self, images: Tensor) -> Tensor:
        return self.pool(self.conv(self.relu(self.bn(images))))


class DenseNetCifar(nn.Module):
    """A DenseNet of ``depth`` weighted layers in three blocks, each layer adding 12 channels.

    Args:
        depth: Weighted layers: 3 per layer of each block, plus 4.
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies the 24 channels of the stem and the 12 of each layer; fractions are
            cut off.

    Raises:
        ValueError: If ``depth`` is not 3n + 4 with n >= 1, or ``width_mult`` leaves no channel.

    Example:
        >>> import torch
        >>> DenseNetCifar(depth=10)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        depth: int = 40,
        num_classes: int = 10,
        in_channels: int = 3,
        width_mult: float = 1.0,
    ) -> None:
        super().__init__()
        layers, rest = divmod(depth - 4, 3)
        if rest or layers < 1:
            raise ValueError(f"A CIFAR DenseNet has depth 3n + 4 (22, 40, 100): got {depth}.")
        stem, growth = scaled([STEM_WIDTH, GROWTH], width_mult)
        self.conv = NormalConv2d(in_channels, stem, 3, padding=1, bias=False)

        def block(entering: int) -> nn.Sequential:
            widths = (entering + growth * layer for layer in range(layers))
            return nn.Sequential(*(DenseLayer(width, growth) for width in widths))

        first, second, third = (stem + growth * layers * done for done in (1, 2, 3))
        self.block1 = block(stem)
        self.transition1 = Transition(first)
        self.block2 = block(first)
        self.transition2 = Transition(second)
        self.block3 = block(second)
        self.bn = nn.BatchNorm2d(third)
        self.relu = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = NormalLinear(third, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.transition1(self.block1(self.conv(images)))
        out = self.block3(self.transition2(self.block2(out)))
        return self.fc(self.pool(self.relu(self.bn(out))).flatten(1))
