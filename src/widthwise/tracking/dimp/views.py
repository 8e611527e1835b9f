"""Crops of a frame, also shifted, mirrored, turned and blurred: what a filter is learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class View:
    """How a crop differs from the plain one."""

    shift: tuple[float, float] = (0.0, 0.0)
    """How far the target is moved, x and y, as shares of the crop's side."""
    mirrored: bool = False
    """Whether left and right are exchanged."""
    degrees: float = 0.0
    """How far it is turned around the target."""
    blur: tuple[float, float] = (0.0, 0.0)
    """Deviations of a bell that it is smoothed with, along x and y, in pixels of the crop."""


def looked_at(
    frame: Tensor, centre: Tensor, side: float, *, size: int, views: Sequence[View]
) -> Tensor:
    """Cut a square out of a frame, in several views. Beyond the frame its border is repeated.

    Args:
        frame: uint8, shape ``[3, h, w]``. Not changed.
        centre: x and y of the middle in pixels, which every view but shifted ones has in its
            middle; the left edge of the first pixel is 0.
        side: Of the square, in pixels of the frame.
        size: Height and width of the results.
        views: What to make.

    Returns:
        Values of 0 to 1, shape ``[views, 3, size, size]``.

    Example:
        >>> frame = torch.full((3, 20, 30), 255, dtype=torch.uint8)
        >>> views = [View(), View(degrees=10), View(blur=(2, 1))]
        >>> looked_at(frame, torch.tensor([15.0, 10]), 16, size=8, views=views).shape
        torch.Size([3, 3, 8, 8])
    """
    steps = (torch.arange(size) + 0.5) / size - 0.5
    rows, columns = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([_seen(view, columns, rows) for view in views]) * side
    # Where a crop is smaller than what it shows, pixels are averaged first.
    shrink = max(1, round(side / size))
    piece, corner = _around(frame, centre, places, margin=2 * shrink)
    if shrink > 1:
        height, width = piece.shape[1:]
        padding = (0, -width % shrink, 0, -height % shrink)
        piece = functional.avg_pool2d(functional.pad(piece[None], padding, "replicate"), shrink)[0]
    extent = torch.tensor([piece.shape[2], piece.shape[1]]) * shrink
    # grid_sample without corners: -1 and 1 are the outer edges of the first and last pixel.
    grid = (places + (centre.cpu() - corner)) * 2 / extent - 1
    grid = grid.to(device=piece.device, dtype=piece.dtype)
    crops = functional.grid_sample(
        piece.expand(len(views), -1, -1, -1), grid, padding_mode="border", align_corners=False
    )
    return torch.stack(
        [_blurred(crop, view.blur) for crop, view in zip(crops, views, strict=True)]
    ).div(255)


def shifted_box(size: Tensor, view: View, *, side: int) -> Tensor:
    """Compute where the target is in a view of a crop that has it in the middle.

    Args:
        size: Width and height of the target, in pixels of the crop.
        view: How the crop differs; a turned target keeps the size of its box.
        side: Height and width of the crop.

    Returns:
        The box, shape ``[4]``.

    Example:
        >>> shifted_box(torch.tensor([20.0, 10]), View(shift=(0.25, 0)), side=80)
        tensor([50., 35., 20., 10.])
    """
    middle = (torch.tensor(view.shift).to(size) + 0.5) * side
    return torch.cat([middle - size / 2, size])


def _seen(view: View, x: Tensor, y: Tensor) -> Tensor:
    """Return which place of the plain crop each pixel of a view shows, from its middle."""
    x, y = x - view.shift[0], y - view.shift[1]
    angle = math.radians(view.degrees)
    x, y = math.cos(angle) * x + math.sin(angle) * y, math.cos(angle) * y - math.sin(angle) * x
    return torch.stack([-x if view.mirrored else x, y], dim=-1)


def _around(frame: Tensor, centre: Tensor, places: Tensor, *, margin: int) -> tuple[Tensor, Tensor]:
    """Cut out what some places need, with a margin; and tell where its corner is."""
    limit = torch.tensor([frame.shape[2], frame.shape[1]])
    seen = places.reshape(-1, 2) + centre.cpu()
    first = (seen.amin(0).floor().long() - margin).clamp(min=torch.zeros_like(limit), max=limit - 1)
    last = (seen.amax(0).ceil().long() + margin).clamp(min=first + 1, max=limit)
    (left, top), (right, bottom) = first.tolist(), last.tolist()
    return frame[:, top:bottom, left:right].float(), first


def _blurred(crop: Tensor, deviations: tuple[float, float]) -> Tensor:
    for dim, deviation in zip((2, 1), deviations, strict=True):
        if deviation > 0:
            reach = math.ceil(2 * deviation)
            steps = torch.arange(-reach, reach + 1, dtype=crop.dtype, device=crop.device)
            bell = torch.exp(-0.5 * (steps / deviation) ** 2)
            padding = (reach, reach, 0, 0) if dim == 2 else (0, 0, reach, reach)
            padded = functional.pad(crop[None], padding, "replicate").transpose(0, 1)
            kernel = (bell / bell.sum()).reshape(1, 1, *((1, -1) if dim == 2 else (-1, 1)))
            crop = functional.conv2d(padded, kernel)[:, 0]
    return crop
