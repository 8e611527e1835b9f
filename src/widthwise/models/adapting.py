"""Make a network of another library fit small images: change strides, not the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def adapt(
    network: Network, *, stem: str, in_channels: int = 3, strides: Mapping[str, int]
) -> Network:
    """Change the strides of layers and the channels of the image, and draw fresh weights.

    Weights are drawn as PyTorch does by default. The initialisation of the other library is lost on
    purpose: it belongs to the constructor, so layers that are drawn anew would start differently.

    Args:
        network: Changed in place.
        stem: Path of the convolution that takes the image.
        in_channels: Channels of the image.
        strides: Path of a convolution or pooling layer -> its stride in both directions.

    Returns:
        The same network.
    """
    for path, stride in strides.items():
        layer = network.get_submodule(path)
        assert isinstance(layer, nn.Conv2d | nn.MaxPool2d), path
        layer.stride = (stride, stride)
    first = network.get_submodule(stem)
    assert isinstance(first, nn.Conv2d), stem
    replacement = nn.Conv2d(
        in_channels,
        first.out_channels,
        (first.kernel_size[0], first.kernel_size[1]),
        stride=(first.stride[0], first.stride[1]),
        padding=first.padding if isinstance(first.padding, str) else first.padding[0],
        bias=first.bias is not None,
    )
    network.set_submodule(stem, replacement)
    for module in network.modules():
        reset = getattr(module, "reset_parameters", None)
        if callable(reset):
            reset()
    return network
