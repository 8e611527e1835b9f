"""EfficientNet-B0, torchvision's, with strides for small images.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks" (ICML 2019,
arXiv:1905.11946).
"""

from __future__ import annotations

from functools import partial

from torchvision.models import EfficientNet
from torchvision.models.efficientnet import MBConvConfig

from widthwise.models.adapting import adapt
from widthwise.models.options import for_image_size, scaled

LAST_WIDTH = 1280
STEM = "features.0.0"
STRIDES = {
    32: {STEM: 1, "features.2.0.block.1.0": 1, "features.3.0.block.1.0": 1},
    64: {STEM: 1},
    224: {},
}
"""Image size -> strides that are not those for 224x224 images. The last map is 8x8, 4x4 and 7x7."""


def efficientnet_b0(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 32,
) -> EfficientNet:
    """Build EfficientNet-B0.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels, rounded to multiples of 8 as torchvision does; of the
            last 1280, fractions are cut off.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another, or ``width_mult`` leaves no channel.
    """
    strides = for_image_size(image_size, STRIDES)
    stage = partial(MBConvConfig, width_mult=width_mult)
    network = EfficientNet(
        [  # expansion, kernel, stride, channels entering and leaving, blocks
            stage(1, 3, 1, 32, 16, 1),
            stage(6, 3, 2, 16, 24, 2),
            stage(6, 5, 2, 24, 40, 2),
            stage(6, 3, 2, 40, 80, 3),
            stage(6, 5, 1, 80, 112, 3),
            stage(6, 5, 2, 112, 192, 4),
            stage(6, 3, 1, 192, 320, 1),
        ],
        dropout=0.2,
        num_classes=num_classes,
        last_channel=scaled([LAST_WIDTH], width_mult)[0],
    )
    return adapt(network, stem=STEM, in_channels=in_channels, strides=strides)
