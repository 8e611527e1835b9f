"""What a layer computes its outputs of, row by row: patches of a map, or the inputs themselves."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from widthwise.healing.product import CONVOLUTIONS, Product, as_maps


def rows_read(layer: nn.Module, product: Product, made: torch.Size, most: int) -> Tensor:
    """Return what outputs are computed of.

    Args:
        layer: Convolution or linear layer.
        product: What it multiplies.
        made: Shape of its outputs.
        most: Places of a map that are looked at, of each image.

    Returns:
        Shape ``[groups, rows, numbers that an output is computed of]``.
    """
    x = product.x
    if isinstance(layer, nn.Linear):
        return x.reshape(1, -1, x.shape[-1])
    assert isinstance(layer, CONVOLUTIONS)
    size = torch.Size([1, made[-1]]) if isinstance(layer, nn.Conv1d) else made[-2:]
    kernel = (1, *layer.weight.shape[2:])[-2:]
    places = _places(size[0] * size[1], most).to(x.device)
    rows, columns = places // size[1] * product.stride[0], places % size[1] * product.stride[1]
    taps = [
        x[:, :, rows + i * product.dilation[0], columns + j * product.dilation[1]]
        for i in range(kernel[0])
        for j in range(kernel[1])
    ]
    # [n, channels, places, taps] -> [groups, n * places, channels of a group * taps]
    patches = torch.stack(taps, -1).unflatten(1, (layer.groups, -1))
    return patches.permute(1, 0, 3, 2, 4).flatten(3).flatten(1, 2)


def rows_made(layer: nn.Module, made: Tensor, most: int) -> Tensor:
    """Return outputs, or what has their shape, at the same places.

    Args:
        layer: Convolution or linear layer.
        made: The outputs.
        most: As for `rows_read`.

    Returns:
        Shape ``[groups, rows, outputs of a group]``.
    """
    if isinstance(layer, nn.Linear):
        return made.reshape(1, -1, made.shape[-1])
    assert isinstance(layer, CONVOLUTIONS)
    y = as_maps(layer, made)
    y = y.flatten(2)
    chosen = y[..., _places(y.shape[2], most).to(y.device)]
    return chosen.unflatten(1, (layer.groups, -1)).permute(1, 0, 3, 2).flatten(1, 2)


def _places(count: int, most: int) -> Tensor:
    """Choose positions of a map, the same ones every time, spread evenly."""
    if count <= most:
        return torch.arange(count)
    generator = torch.Generator().manual_seed(count)
    return torch.randperm(count, generator=generator)[:most]
