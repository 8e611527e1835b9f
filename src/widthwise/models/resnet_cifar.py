"""ResNets for small images, as used on CIFAR: a stem and three stages of residual blocks.

He et al., "Deep Residual Learning for Image Recognition" (CVPR 2016, arXiv:1512.03385), section
4.2. Two choices follow the pruning literature (Li et al., "DHP", arXiv:2003.13683): where the
shape changes, the shortcut is by default a 1x1 convolution with batch normalisation ("type C"); and
networks deeper than 56 have bottleneck blocks, so that ResNet-110 and ResNet-164 have 12 and 18
blocks per stage.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from widthwise.models.options import Choice, for_image_size, scaled

STAGE_WIDTHS = (16, 32, 64)
STEM_STRIDES = {32: 1, 64: 2}
"""Image size -> stride of the stem."""


class Shortcut(Choice):
    """What a shortcut is where the stride or the number of channels changes."""

    A = "A"
    """Average pooling, and channels of zeros in front and behind; no weights."""
    C = "C"
    """A 1x1 convolution with batch normalisation."""


class Block(Choice):
    """What stages are made of."""

    basic = "basic"
    """Two 3x3 convolutions."""
    bottleneck = "bottleneck"
    """1x1, 3x3 and 1x1; the last has four times the channels."""


class ZeroPaddedShortcut(nn.Module):
    """The shortcut of type A: smaller maps by averaging, more channels by zeros.

    The zeros are buffers, not padding, so that each of those channels has a name of its own.

    Args:
        in_channels: Channels entering.
        channels: Channels leaving; half of the new ones come first, half last.
        stride: 1, or 2 to halve the map.
    """

    def __init__(self, in_channels: int, channels: int, *, stride: int) -> None:
        super().__init__()
        front = (channels - in_channels) // 2
        behind = channels - in_channels - front
        # A stride of 2 rounds odd sizes up, in a convolution: so must this.
        self.pool = nn.AvgPool2d(stride, ceil_mode=True) if stride > 1 else nn.Identity()
        self.front: Tensor
        self.behind: Tensor
        self.register_buffer("front", torch.zeros(front, 1, 1), persistent=False)
        self.register_buffer("behind", torch.zeros(behind, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        out = self.pool(images)
        batch, _, height, width = out.shape
        front = self.front.expand(batch, -1, height, width)
        behind = self.behind.expand(batch, -1, height, width)
        return torch.cat([front, out, behind], dim=1)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: ``relu(x' + f(x))``.

    Args:
        in_channels: Channels entering the block.
        channels: Channels of both convolutions and of the output.
        stride: Stride of the first convolution and of the shortcut.
        shortcut: What the shortcut is where the shape changes.
    """

    expansion = 1

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = Shortcut.C,
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(in_channels, channels, stride, shortcut)

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + self.shortcut(images))


class BottleneckBlock(nn.Module):
    """A 3x3 convolution between two 1x1 convolutions, and a shortcut: ``relu(x' + f(x))``.

    Args:
        in_channels: Channels entering the block.
        channels: Channels of the 3x3 convolution; the output has four times as many.
        stride: Stride of the 3x3 convolution and of the shortcut.
        shortcut: What the shortcut is where the shape changes.
    """

    expansion = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        *,
        stride: int = 1,
        shortcut: Shortcut = Shortcut.C,
    ) -> None:
        super().__init__()
        out_channels = self.expansion * channels
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU()
        self.shortcut = _shortcut(in_channels, out_channels, stride, shortcut)

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.relu(self.bn2(self.conv2(out)))
        return self.relu(self.bn3(self.conv3(out)) + self.shortcut(images))


class ResNetCifar(nn.Module):
    """A ResNet of ``depth`` weighted layers with three stages of 16, 32 and 64 channels.

    Weights have PyTorch's default initialisation.

    Args:
        depth: Weighted layers on the longest path, plus 2: 6 per basic block of each stage, or 9
            per bottleneck block.
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies the 16, 32 and 64 channels; fractions are cut off.
        image_size: Side of the images in pixels: at 64, the stem has stride 2; at 32, stride 1.
        shortcut: `Shortcut`, or "A" or "C".
        block: `Block`, or "basic" or "bottleneck"; by default basic where the depth is 6n + 2 and
            at most 56, bottleneck otherwise.

    Raises:
        ValueError: If ``depth`` does not fit the block, an option is unknown, or ``width_mult``
            leaves no channel.

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
        image_size: int = 32,
        shortcut: Shortcut | str = Shortcut.C,
        block: Block | str | None = None,
    ) -> None:
        super().__init__()
        kind, blocks = _blocks(depth, None if block is None else Block(block))
        shortcut = Shortcut(shortcut)
        stem, *_ = widths = scaled(STAGE_WIDTHS, width_mult)
        stride = for_image_size(image_size, STEM_STRIDES)
        self.conv1 = nn.Conv2d(in_channels, stem, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        self.relu = nn.ReLU()

        def stage(entering: int, channels: int, stride: int) -> nn.Sequential:
            first = kind(entering, channels, stride=stride, shortcut=shortcut)
            rest = (kind(channels * kind.expansion, channels) for _ in range(blocks - 1))
            return nn.Sequential(first, *rest)

        leaving = [width * kind.expansion for width in widths]
        self.layer1 = stage(stem, widths[0], 1)
        self.layer2 = stage(leaving[0], widths[1], 2)
        self.layer3 = stage(leaving[1], widths[2], 2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(leaving[2], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.relu(self.bn1(self.conv1(images)))
        out = self.layer3(self.layer2(self.layer1(out)))
        return self.fc(self.pool(out).flatten(1))


def _shortcut(in_channels: int, channels: int, stride: int, kind: Shortcut) -> nn.Module:
    if stride == 1 and in_channels == channels:
        return nn.Identity()
    if kind is Shortcut.A:
        return ZeroPaddedShortcut(in_channels, channels, stride=stride)
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False),
        nn.BatchNorm2d(channels),
    )


def _blocks(
    depth: int, block: Block | None
) -> tuple[type[BasicBlock] | type[BottleneckBlock], int]:
    """Return the class of the blocks and how many of them a stage has."""
    if block is None:
        is_basic = depth <= 56 and (depth - 2) % 6 == 0
        block = Block.basic if is_basic or (depth - 2) % 9 else Block.bottleneck
    kind = BasicBlock if block is Block.basic else BottleneckBlock
    per_block = 6 if block is Block.basic else 9
    blocks, rest = divmod(depth - 2, per_block)
    if rest or blocks < 1:
        raise ValueError(
            "A CIFAR ResNet has depth 6n + 2 with basic blocks (8, 14, 20, 32, 44, 56) and 9n + 2 "
            f"with bottleneck blocks (11, 20, 29, 110, 164): got {depth} with {block.value} blocks."
        )
    return kind, blocks
