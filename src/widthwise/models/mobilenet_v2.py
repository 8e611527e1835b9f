"""MobileNetV2: residual blocks that are wide inside and narrow between.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (CVPR 2018,
arXiv:1801.04381), with strides for small images.
"""

from __future__ import annotations

from torch import Tensor, nn

from widthwise.models.layers import conv_bn_relu6
from widthwise.models.options import for_image_size, scaled

STEM_WIDTH = 32
LAST_WIDTH = 1280
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, blocks, and stride of the first block, for 224x224 images."""
EARLY_STRIDES = {32: (1, 1), 64: (2, 1), 224: (2, 2)}
"""Image size -> strides of the stem and of the second stage. The last map is 4x4, 4x4 and 7x7."""


class InvertedResidual(nn.Module):
    """A 1x1, a depth-wise 3x3 and a 1x1 convolution, and a shortcut where the shape stays.

    Args:
        in_channels: Channels entering the block.
        channels: Channels leaving it.
        expansion: Channels of the depth-wise convolution per channel entering.
        stride: Its stride.
    """

    def __init__(self, in_channels: int, channels: int, *, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = expansion * in_channels
        self.expand = (
            nn.Identity() if expansion == 1 else conv_bn_relu6(in_channels, hidden, kernel=1)
        )
        self.depthwise = conv_bn_relu6(hidden, hidden, kernel=3, stride=stride, groups=hidden)
        self.project = nn.Sequential(
            nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.is_residual = stride == 1 and in_channels == channels

    def forward(self, images: Tensor) -> Tensor:
        out = self.project(self.depthwise(self.expand(images)))
        return images + out if self.is_residual else out


class MobileNetV2(nn.Module):
    """A stem, seventeen inverted residual blocks, a 1x1 convolution and a linear classifier.

    Weights have PyTorch's default initialisation.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels; fractions are cut off.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Raises:
        ValueError: If ``image_size`` is another, or ``width_mult`` leaves no channel.

    Example:
        >>> import torch
        >>> MobileNetV2(width_mult=0.25)(torch.zeros(2, 3, 64, 64)).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        *,
        num_classes: int = 10,
        in_channels: int = 3,
        width_mult: float = 1.0,
        image_size: int = 64,
    ) -> None:
        super().__init__()
        stem_stride, second_stride = for_image_size(image_size, EARLY_STRIDES)
        full = [STEM_WIDTH, LAST_WIDTH, *(width for _, width, _, _ in STAGES)]
        stem, last, *widths = scaled(full, width_mult)
        self.stem = conv_bn_relu6(in_channels, stem, kernel=3, stride=stem_stride)
        blocks, entering = [], stem
        for number, (expansion, _, depth, stride) in enumerate(STAGES):
            first = second_stride if number == 1 else stride
            for block in range(depth):
                blocks.append(
                    InvertedResidual(
                        entering,
                        widths[number],
                        expansion=expansion,
                        stride=first if block == 0 else 1,
                    )
                )
                entering = widths[number]
        self.blocks = nn.Sequential(*blocks)
        self.last = conv_bn_relu6(entering, last, kernel=1)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(last, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.last(self.blocks(self.stem(images)))
        return self.fc(self.dropout(self.pool(out).flatten(1)))
