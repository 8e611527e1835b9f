"""What networks are built from that PyTorch has no module for."""

from __future__ import annotations

from torch import nn


def conv_bn_relu6(
    in_channels: int, channels: int, *, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Build a convolution without bias, batch normalisation and ReLU6.

    Args:
        in_channels: Channels entering.
        channels: Channels leaving.
        kernel: Side of the kernel in taps, odd; the map is padded by half of it.
        stride: Stride of the convolution.
        groups: Groups of the convolution; ``in_channels`` if it is depth-wise.

    Returns:
        The three modules in a row.
    """
    convolution = nn.Conv2d(
        in_channels,
        channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
    )
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU6())
