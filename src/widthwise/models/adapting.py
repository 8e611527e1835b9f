"""Make a network of another library fit small images: change strides, not the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from torch import nn

from widthwise.errors import ConfigError

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

    Raises:
        ConfigError: If a layer is not there or of another kind, as in another version of the
            library.
    """
    for path, stride in strides.items():
        layer = _layer(network, path)
        if not isinstance(layer, nn.Conv2d | nn.MaxPool2d):
            raise _other(network, path, "a convolution or pooling layer", layer)
        layer.stride = (stride, stride)
    first = _layer(network, stem)
    if not isinstance(first, nn.Conv2d):
        raise _other(network, stem, "a convolution", first)
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


def _layer(network: nn.Module, path: str) -> nn.Module | None:
    return dict(network.named_modules()).get(path)


def _other(network: nn.Module, path: str, expected: str, got: nn.Module | None) -> ConfigError:
    found = "nothing" if got is None else f"`{type(got).__name__}`"
    return ConfigError(
        f"`{type(network).__name__}` cannot be adapted to small images: expected {expected} at "
        f"`{path}`, got {found}.\n"
        "Why: strides are changed by the names that layers have in the library's own network.\n"
        "Hint: the installed library has renamed its layers; install an earlier version of it."
    )
