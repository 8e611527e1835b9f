"""RegNets of 400 MF, torchvision's, with strides for small images.

Radosavovic et al., "Designing Network Design Spaces" (CVPR 2020, arXiv:2003.13678).
"""

from __future__ import annotations

from torchvision.models import RegNet
from torchvision.models.regnet import BlockParams

from widthwise.models.adapting import adapt
from widthwise.models.options import for_image_size, scaled

STEM = "stem.0"
STEM_WIDTH = 32
STRIDES = {32: (1, 1, 1, 2, 2), 64: (1, 2, 2, 2, 2), 224: (2, 2, 2, 2, 2)}
"""Image size -> strides of the stem and of the stages. The last map is 8x8, 4x4 and 7x7."""


def regnet_x_400mf(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 32,
) -> RegNet:
    """Build RegNetX-400MF, whose last stage has 384 channels as in the pruning literature.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels; fractions, in the stages of a group, are cut off. A
            stage has one group at least.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another, or ``width_mult`` leaves no channel.
    """
    return _regnet(
        depths=[1, 2, 7, 12],
        widths=scaled([STEM_WIDTH, 32, 64, 160, 384], width_mult),
        group_width=16,
        se_ratio=None,
        num_classes=num_classes,
        in_channels=in_channels,
        strides=for_image_size(image_size, STRIDES),
    )


def regnet_y_400mf(
    *,
    num_classes: int = 10,
    in_channels: int = 3,
    width_mult: float = 1.0,
    image_size: int = 32,
) -> RegNet:
    """Build RegNetY-400MF: with squeeze-and-excitation.

    Args:
        num_classes: Outputs of the classifier.
        in_channels: Channels of the input image.
        width_mult: Multiplies all channels; fractions, in the stages of a group, are cut off. A
            stage has one group at least.
        image_size: Side of the images that the strides are for, in pixels: 32, 64 or 224.

    Returns:
        The network, with PyTorch's default initialisation.

    Raises:
        ValueError: If ``image_size`` is another, or ``width_mult`` leaves no channel.
    """
    return _regnet(
        depths=[1, 3, 6, 6],
        widths=scaled([STEM_WIDTH, 48, 104, 208, 440], width_mult),
        group_width=8,
        se_ratio=0.25,
        num_classes=num_classes,
        in_channels=in_channels,
        strides=for_image_size(image_size, STRIDES),
    )


def _regnet(
    *,
    depths: list[int],
    widths: list[int],
    group_width: int,
    se_ratio: float | None,
    num_classes: int,
    in_channels: int,
    strides: tuple[int, ...],
) -> RegNet:
    stem_width, *stages = widths
    stages = [max(width // group_width, 1) * group_width for width in stages]
    stem_stride, *stage_strides = strides
    blocks = BlockParams(
        depths=depths,
        widths=stages,
        group_widths=[group_width] * len(stages),
        bottleneck_multipliers=[1.0] * len(stages),
        strides=stage_strides,
        se_ratio=se_ratio,
    )
    network = RegNet(blocks, num_classes=num_classes, stem_width=stem_width)
    return adapt(network, stem=STEM, in_channels=in_channels, strides={STEM: stem_stride})
