"""Pixels of one frame: a view of the background, and things pasted over it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from widthwise.data.rendering.cutouts import Cutout


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where something is in a frame, and how it is turned."""

    x: float
    """Of its middle, in pixels of the frame; the left edge of the first pixel is 0."""
    y: float
    across: float
    """Pixels of the frame per pixel of the cut-out, along its rows."""
    down: float
    """The same, along its columns."""
    roll: float = 0.0
    """Angle in radians."""
    shear: float = 0.0
    """Columns that a row is moved by, per row."""
    step: tuple[float, float] = (0.0, 0.0)
    """How far it moves while the shutter is open, in pixels."""


@dataclass(frozen=True, kw_only=True)
class Pasted:
    """What pasting something has covered."""

    top: int
    left: int
    alpha: Tensor
    """How much of the frame it covers, shape ``[h, w]``, from the corner on."""

    def covers(self, height: int, width: int) -> Tensor:
        """Return the pixels of a frame that it hides more than half.

        Args:
            height: Of the frame.
            width: Of the frame.

        Returns:
            bool, shape ``[height, width]``.
        """
        mask = torch.zeros(height, width, dtype=torch.bool)
        if self.top >= height or self.left >= width:
            return mask
        top, left = max(self.top, 0), max(self.left, 0)
        inside = self.alpha[top - self.top : height - self.top, left - self.left :] > 0.5
        inside = inside[:, : width - left]
        mask[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return mask

    @property
    def area(self) -> int:
        """Pixels that it hides more than half, inside of the frame or not."""
        return int((self.alpha > 0.5).sum())

    def box(self) -> Tensor | None:
        """Return the tight box of what it hides more than half.

        Returns:
            float64, shape ``[4]``, as of `widthwise.tracking.boxes`; None if it hides nothing.
        """
        seen = self.alpha > 0.5
        rows, columns = seen.any(1).nonzero()[:, 0], seen.any(0).nonzero()[:, 0]
        if not len(rows):
            return None
        top, left = int(rows[0]), int(columns[0])
        high, wide = int(rows[-1]) + 1 - top, int(columns[-1]) + 1 - left
        return torch.tensor([self.left + left, self.top + top, wide, high], dtype=torch.float64)


def view(
    photograph: Tensor,
    *,
    centre: tuple[float, float],
    zoom: float,
    roll: float,
    size: tuple[int, int],
) -> Tensor:
    """Look at a part of a photograph; what lies beyond its border is mirrored.

    Args:
        photograph: Shape ``[3, h, w]``. Not changed.
        centre: x and y of the middle of what is seen, in pixels of the photograph.
        zoom: Pixels of the frame per pixel of the photograph.
        roll: Angle in radians.
        size: Height and width of the frame.

    Returns:
        Shape ``[3, height, width]``.
    """
    rows, columns = _from_middle(size)
    cosine, sine = math.cos(roll) / zoom, math.sin(roll) / zoom
    x = centre[0] + cosine * columns + sine * rows
    y = centre[1] - sine * columns + cosine * rows
    return _sampled(photograph, x, y, padding="reflection")


def paste(frame: Tensor, cutout: Cutout, pose: Pose, bend: Tensor | None = None) -> Pasted:
    """Paste something into a frame.

    Args:
        frame: Values of 0 to 1, shape ``[3, h, w]``. Changed in place.
        cutout: What to paste.
        pose: Where.
        bend: How a control grid over it is moved, as shares of its height and width, shape
            ``[2, 3, 3]``; nothing is bent if not given.

    Returns:
        What is covered.
    """
    high, wide = cutout.alpha.shape
    reach_x, reach_y = _reach(high, wide, pose)
    left, top = math.floor(pose.x - reach_x), math.floor(pose.y - reach_y)
    size = math.ceil(pose.y + reach_y) - top, math.ceil(pose.x + reach_x) - left
    rows = torch.arange(size[0])[:, None] + (top + 0.5 - pose.y)
    columns = torch.arange(size[1])[None, :] + (left + 0.5 - pose.x)
    # From the frame to the cut-out: turn back, then shear back, then scale back.
    cosine, sine = math.cos(pose.roll), math.sin(pose.roll)
    along = cosine * columns + sine * rows
    below = cosine * rows - sine * columns
    x = wide / 2 + (along - pose.shear * below) / pose.across
    y = high / 2 + below / pose.down
    if bend is not None:
        moved = functional.interpolate(
            bend[None].float(), size=size, mode="bicubic", align_corners=True
        )[0]
        x, y = x + moved[0] * wide, y + moved[1] * high
    layers = torch.cat([cutout.pixels * cutout.alpha, cutout.alpha[None]])
    layers = _smeared(_sampled(layers, x, y, padding="zeros"), pose.step)
    pasted = Pasted(top=top, left=left, alpha=layers[3])
    _blend(frame, layers, top, left)
    return pasted


def _blend(frame: Tensor, layers: Tensor, top: int, left: int) -> None:
    height, width = frame.shape[1:]
    above, before = max(-top, 0), max(-left, 0)
    seen = layers[:, above : height - top, before : width - left]
    if 0 in seen.shape or top >= height or left >= width:
        return
    part = frame[:, top + above :, left + before :][:, : seen.shape[1], : seen.shape[2]]
    part.mul_(1 - seen[3]).add_(seen[:3])


def _smeared(layers: Tensor, step: tuple[float, float]) -> Tensor:
    """Average over half of a step, as a shutter does; for whole pixels only."""
    taps = min(round(math.hypot(*step) / 2), 7)
    if taps < 2:
        return layers
    shares = [tap / (taps - 1) - 0.5 for tap in range(taps)]
    moved = [
        torch.roll(layers, (round(share * step[1] / 2), round(share * step[0] / 2)), (1, 2))
        for share in shares
    ]
    return torch.stack(moved).mean(0)


def _reach(high: int, wide: int, pose: Pose) -> tuple[float, float]:
    """How far it may stretch from its middle, with room for bending and smearing."""
    half_wide = wide / 2 * pose.across + abs(pose.shear) * high / 2 * pose.down
    half_high = high / 2 * pose.down
    cosine, sine = abs(math.cos(pose.roll)), abs(math.sin(pose.roll))
    room = 0.1 * max(half_wide, half_high) + 2
    return (
        cosine * half_wide + sine * half_high + room + abs(pose.step[0]) / 4,
        sine * half_wide + cosine * half_high + room + abs(pose.step[1]) / 4,
    )


def _from_middle(size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    height, width = size
    rows = torch.arange(height)[:, None] + 0.5 - height / 2
    columns = torch.arange(width)[None, :] + 0.5 - width / 2
    return rows, columns


def _sampled(image: Tensor, x: Tensor, y: Tensor, *, padding: str) -> Tensor:
    height, width = image.shape[1:]
    # grid_sample without corners: -1 and 1 are the outer edges of the first and last pixel.
    grid = torch.stack(torch.broadcast_tensors(x * 2 / width - 1, y * 2 / height - 1), dim=-1)
    return functional.grid_sample(
        image[None], grid[None].float(), padding_mode=padding, align_corners=False
    )[0]
