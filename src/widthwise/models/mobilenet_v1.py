"""MobileNetV1: depth-wise and point-wise convolutions in turn.

Howard et al., "MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications"
(arXiv:1704.04861), with ReLU6 and with strides for small images.
"""

from __future__ import annotations

from torch import Tensor, nn

from widthwise.models.layers import conv_bn_relu6
from widthwise.models.options import for_image_size, scaled

STEM_WIDTH = 32
PAIRS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    *[(512, 1)] * 5,
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of every depth-wise and point-wise pair."""
STEM_STRIDES = {32: 1, 64: 2, 224: 2}
"""Image size -> stride of the stem. The last map is 2x2, 2x2 and 7x7."""


class MobileNetV1(nn.Module):
    """A stem, thirteen pairs of convolutions, and a linear classifier.

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
        >>> MobileNetV1(width_mult=0.25)(torch.zeros(2, 3, 64, 64)).shape
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
        stem, *widths = scaled([STEM_WIDTH, *(width for width, _ in PAIRS)], width_mult)
        self.stem = conv_bn_relu6(
            in_channels, stem, kernel=3, stride=for_image_size(image_size, STEM_STRIDES)
        )
        pairs = []
        for entering, width, (_, stride) in zip([stem, *widths], widths, PAIRS, strict=False):
            depthwise = conv_bn_relu6(entering, entering, kernel=3, stride=stride, groups=entering)
            pairs.append(nn.Sequential(depthwise, conv_bn_relu6(entering, width, kernel=1)))
        self.pairs = nn.Sequential(*pairs)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(0.2)
        self.fc = nn.Linear(widths[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        out = self.pool(self.pairs(self.stem(images))).flatten(1)
        return self.fc(self.dropout(out))
