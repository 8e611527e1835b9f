"""ShuffleNetV2, torchvision's, with strides for small images.

Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design" (ECCV 2018,
arXiv:1807.11164).
"""

from __future__ import annotations

from torchvision.models import ShuffleNetV2

from widthwise.models.adapting import adapt
from widthwise.models.options import for_image_size, scaled

DEPTHS = (4, 8, 4)
STEM_WIDTH = 24
LAST_WIDTH = 1024
BRANCH_WIDTHS = (58, 116, 232)
"""Channels of each of the two branches of a stage."""
STEM = "conv1.0"
STRIDES = {32: {STEM: 1, "maxpool": 1}, 64: {STEM: 1}, 224: {}}
"""Image size -> strides that are not those for 224x224 images. The last map is 4x4, 4x4 and 7x7."""


def shufflenet_v2(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 32,
) -> ShuffleNetV2:
    """Build ShuffleNetV2.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels; fractions of a branch's channels are cut off. (The
            paper's other sizes multiply the stages only.)
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another, or ``width_mult`` leaves no channel.
    """
    strides = for_image_size(image_size, STRIDES)
    stem, last, *branches = scaled([STEM_WIDTH, LAST_WIDTH, *BRANCH_WIDTHS], width_mult)
    network = ShuffleNetV2(
        list(DEPTHS), [stem, *(2 * width for width in branches), last], num_classes
    )
    return adapt(network, stem=STEM, in_channels=in_channels, strides=strides)
