"""MobileNetV3, torchvision's, with strides for small images.

Howard et al., "Searching for MobileNetV3" (ICCV 2019, arXiv:1905.02244).
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torchvision import models
from torchvision.models.mobilenetv3 import InvertedResidual, MobileNetV3
from torchvision.ops import SqueezeExcitation

from widthwise.models.adapting import adapt
from widthwise.models.options import for_image_size, scaled

STEM = "features.0.0"
SMALL_HIDDEN_WIDTH = 1280
SMALL_STRIDES = {32: {STEM: 1, "features.1.block.0.0": 1}, 64: {STEM: 1}, 224: {}}
"""Image size -> strides that are not those for 224x224 images. The last map is 4x4, 4x4 and 7x7."""
LARGE_STRIDES = {32: {STEM: 1, "features.2.block.1.0": 1}, 64: {STEM: 1}, 224: {}}


def mobilenet_v3_small(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 64,
) -> MobileNetV3:
    """Build MobileNetV3-small with the paper's own head.

    It differs from torchvision's in three details that the paper has and torchvision has not: the
    last 1x1 convolution is followed by a squeeze-and-excitation, the hidden layer of the classifier
    has 1280 features (in the paper's first version; later 1024), and squeezed widths are a quarter,
    not rounded to multiples of 8.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels, rounded to multiples of 8 as torchvision does.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another.
    """
    strides = for_image_size(image_size, SMALL_STRIDES)
    network = models.mobilenet_v3_small(
        width_mult=width_mult,
        num_classes=num_classes,
        block=partial(InvertedResidual, se_layer=_squeeze_a_quarter),
    )
    hidden = scaled([SMALL_HIDDEN_WIDTH], width_mult)[0]
    last = network.classifier[0].in_features
    network.features.append(_squeeze_a_quarter(last))
    network.classifier[0] = nn.Linear(last, hidden)
    network.classifier[3] = nn.Linear(hidden, num_classes)
    return adapt(network, stem=STEM, in_channels=in_channels, strides=strides)


def mobilenet_v3_large(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 64,
) -> MobileNetV3:
    """Build torchvision's MobileNetV3-large.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels, rounded to multiples of 8 as torchvision does.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another.
    """
    strides = for_image_size(image_size, LARGE_STRIDES)
    network = models.mobilenet_v3_large(width_mult=width_mult, num_classes=num_classes)
    return adapt(network, stem=STEM, in_channels=in_channels, strides=strides)


def _squeeze_a_quarter(channels: int, _squeezed: int = 0) -> SqueezeExcitation:
    return SqueezeExcitation(channels, channels // 4, scale_activation=nn.Hardsigmoid)
