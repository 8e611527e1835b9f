"""ResNets for small images, as used on CIFAR: three stages of basic blocks.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv:1512.03385), section
4.2. One choice differs from that paper and follows the pruning literature: where the stride or the
number of channels changes, the shortcut is a 1x1 convolution with batch normalisation ("type C")
instead of padding with zeros.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

STAGE_WIDTHS = (16, 32, 64)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``relu(x' + f(x))``.

    Args:
        in_channels: Channels entering the block.
        channels: Channels of both convolutions and of the output.
        stride: Stride of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
                nn.BatchNorm2d(channels),
            )

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.shortcut(images))


class ResNetCifar(nn.Module):
    """A ResNet of ``depth`` weighted layers with three stages of 16, 32 and 64 channels.

    Weights have PyTorch's default initialisation.

    Args:
        depth: Weighted layers on the longest path: 6 per block of each stage, plus 2.
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies the 16, 32 and 64 channels; fractions are cut off.

    Raises:
        ValueError: If ``depth`` is not 6n + 2 with n >= 1, or ``width_mult`` leaves no channel.

    Example:
        >>> import torch
        >>> ResNetCifar(depth=20)(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        depth: int = 20,
        num_classes: int = 10,
        in_channels: int = 3,
        width_mult: float = 1.0,
    ) -> None:
        super().__init__()
        blocks, rest = divmod(depth - 2, 6)
        if rest or blocks < 1:
            raise ValueError(
                "A CIFAR ResNet of basic blocks has depth 6n + 2 (8, 14, 20, 32, 44, 56): "
                f"got {depth}."
            )
        stem, *_ = widths = [int(width * width_mult) for width in STAGE_WIDTHS]
        if stem < 1:
            raise ValueError(f"width_mult={width_mult} leaves no channel of the first stage's 16.")
        self.conv1 = nn.Conv2d(in_channels, stem, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()
        self.layer1 = _stage(stem, widths[0], blocks=blocks, stride=1)
        self.layer2 = _stage(widths[0], widths[1], blocks=blocks, stride=2)
        self.layer3 = _stage(widths[1], widths[2], blocks=blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(widths[2], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.fc(self.pool(out).flatten(1))


def _stage(in_channels: int, channels: int, *, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(in_channels, channels, stride=stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))


FACTORIES: dict[str, Callable[..., nn.Module]] = {
    f"resnet{depth}": partial(ResNetCifar, depth=depth) for depth in (14, 20, 32, 44, 56)
}
"""Name of every network of this file -> what builds it."""

INPUT_SHAPE = (1, 3, 32, 32)
"""The input these networks were published for."""
