"""MnasNet (B1), torchvision's, with strides for small images.

Tan et al., "MnasNet: Platform-Aware Neural Architecture Search for Mobile" (CVPR 2019,
arXiv:1807.11626).
"""

from __future__ import annotations

from torchvision.models import MNASNet

from widthwise.models.adapting import adapt
from widthwise.models.options import for_image_size

STEM = "layers.0"
STRIDES = {32: {STEM: 1, "layers.8.0.layers.3": 1}, 64: {}, 224: {}}
"""Image size -> strides that are not those for 224x224 images. The last map is 4x4, 2x2 and 7x7."""


def mnasnet(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 64,
) -> MNASNet:
    """Build MnasNet.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels but the last 1280, rounded to multiples of 8, as
            torchvision does.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another.
    """
    strides = for_image_size(image_size, STRIDES)
    network = MNASNet(alpha=width_mult, num_classes=num_classes)
    return adapt(network, stem=STEM, in_channels=in_channels, strides=strides)
