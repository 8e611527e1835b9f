"""Networks on whole photographs: of any size, in tiles, and in all orientations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

Call = Callable[[Tensor], Tensor]
"""Maps images ``[b, c, h, w]`` to images ``[b, c, h * scale, w * scale]``."""


def padded(images: Tensor, multiple: int) -> Tensor:
    """Repeat the last row and column until both sides are a multiple of a number.

    Args:
        images: Shape ``[b, c, h, w]``.
        multiple: The number, at least 1.

    Returns:
        The images, in the corner at the top left of larger ones where they had to grow.
    """
    height, width = images.shape[2:]
    return functional.pad(images, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def of_any_size(call: Call, *, multiple: int, scale: int) -> Call:
    """Let a network that wants sides of a multiple see any image.

    Args:
        call: The network.
        multiple: What the sides of its inputs are a multiple of.
        scale: Side of an output in sides of its input.

    Returns:
        What pads, calls and cuts back.
    """

    def called(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        return call(padded(images, multiple))[:, :, : height * scale, : width * scale]

    return called


def in_tiles(call: Call, *, tile: int, border: int, scale: int) -> Call:
    """Let a network see an image in squares, so that it needs the memory of one of them.

    Args:
        call: The network.
        tile: Side of the squares, in pixels of the input.
        border: How far each sees beyond its sides. Where a pixel of the output depends on no input
            farther away, the result is that of the whole image.
        scale: Side of an output in sides of its input.

    Returns:
        What cuts, calls and puts together.

    Example:
        >>> blur = torch.nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)
        >>> image = torch.rand(1, 1, 20, 31)
        >>> tiles = in_tiles(blur, tile=8, border=1, scale=1)
        >>> torch.allclose(tiles(image), blur(image))
        True
    """

    def called(images: Tensor) -> Tensor:
        height, width = images.shape[2:]
        rows = []
        for top in range(0, height, tile):
            row = []
            for left in range(0, width, tile):
                up, aside = min(top, border), min(left, border)
                seen = images[
                    :,
                    :,
                    top - up : top + tile + border,
                    left - aside : left + tile + border,
                ]
                high, wide = min(tile, height - top), min(tile, width - left)
                output = call(seen)
                row.append(
                    output[
                        :,
                        :,
                        up * scale : (up + high) * scale,
                        aside * scale : (aside + wide) * scale,
                    ]
                )
            rows.append(torch.cat(row, dim=3))
        return torch.cat(rows, dim=2)

    return called


def in_all_orientations(call: Call) -> Call:
    """Let a network see an image in its eight orientations, and average what it makes of them.

    Timofte et al., "Seven Ways to Improve Example-Based Single Image Super Resolution" (CVPR 2016).

    Args:
        call: The network.

    Returns:
        What turns, calls, turns back and averages.
    """

    def called(images: Tensor) -> Tensor:
        outputs = []
        for turns in range(4):
            for mirrored in (False, True):
                turned = torch.rot90(images, turns, (2, 3))
                output = call(turned.flip(3)).flip(3) if mirrored else call(turned)
                outputs.append(torch.rot90(output, -turns, (2, 3)))
        return torch.stack(outputs).mean(0)

    return called
