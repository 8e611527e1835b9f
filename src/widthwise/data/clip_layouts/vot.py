"""VOT, 2013 and later: ``NAME/color/00000001.jpg`` or ``NAME/00000001.jpg``, and polygons."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from widthwise.data.clip_layouts.base import Conventions, Polygons, Reader
from widthwise.data.clip_layouts.lines import from_rows, lines_in, numbers_in
from widthwise.data.clips import Clip, frames_in
from widthwise.data.source import damaged
from widthwise.errors import DataError

FIRST_PIXEL = 0
"""Number of the first pixel in its files."""
UNKNOWN = [float("nan")] * 4


def matches(folder: Path) -> bool:
    """Tell whether a folder is a sequence of this layout."""
    files = _box_files(folder)
    if not files:
        return False
    if (folder / "color").is_dir() or (folder / "sequence").is_file():
        return True
    # Older years have neither, and polygons that no other layout has.
    first = next(iter(lines_in(files[0])), [])
    return len(first) >= 6 or bool(first and first[0].startswith("m"))


def read(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read a sequence: one clip, or one per target.

    Args:
        folder: Of the sequence. The clips of ``groundtruth_a.txt`` and ``groundtruth_b.txt`` are
            called ``NAME-a`` and ``NAME-b``.
        conventions: What its files leave open.

    Returns:
        The clips. Boxes are unknown where the file has a code, a point or NaN.

    Raises:
        DataError: If a file is damaged or holds masks, or frames and boxes do not go together.
    """
    files = _box_files(folder)
    frames = frames_in(folder / "color", folder)
    clips = []
    for path in files:
        boxes = _boxes(path, conventions)
        target = path.stem.removeprefix("groundtruth").strip("_")
        clips.append(
            Clip(
                name=f"{folder.name}-{target}" if target and len(files) > 1 else folder.name,
                images=frames,
                boxes=boxes,
                absent=torch.zeros(len(boxes), dtype=torch.bool),
                source=path,
            )
        )
    return clips


def as_box(corners: Tensor, polygons: Polygons) -> list[float]:
    """Turn a polygon into an upright box.

    Args:
        corners: x and y of three or more, in order. Shape ``[n, 2]``.
        polygons: How.

    Returns:
        x, y, width and height; NaN if the polygon lies on a line.

    Example:
        >>> corners = torch.tensor([[4, 0], [8, 4], [4, 8], [0, 4]]).double()
        >>> as_box(corners, Polygons.BOUNDING)
        [0.0, 0.0, 8.0, 8.0]
    """
    start, stop = corners.amin(0), corners.amax(0)
    sides = stop - start
    if not (sides > 0).all():
        return UNKNOWN
    if polygons is Polygons.SAME_AREA:
        following = corners.roll(-1, 0)
        area = (corners[:, 0] * following[:, 1] - corners[:, 1] * following[:, 0]).sum().abs() / 2
        sides = sides * (area / sides.prod()).sqrt() + 1
        start = corners.mean(0) - sides / 2
    return [*start.tolist(), *sides.tolist()]


def _box_files(folder: Path) -> list[Path]:
    return sorted({*folder.glob("groundtruth.txt"), *folder.glob("groundtruth_*.txt")})


def _boxes(path: Path, conventions: Conventions) -> Tensor:
    rows = []
    for line, words in enumerate(lines_in(path), 1):
        if words[0].startswith("m"):
            raise DataError(
                f"`{path}` has a mask in line {line}; masks are not read.\n"
                "Why: the trackers here follow boxes.\n"
                "Hint: turn the masks into boxes with VOT's own toolkit, or take a year with "
                "rectangles or polygons (up to 2019)."
            )
        numbers = numbers_in(path, line, words)
        if len(numbers) in (1, 2) or any(number != number for number in numbers):
            rows.append(UNKNOWN)  # a code, a point, or NaN
        elif len(numbers) == 4:
            rows.append(numbers)
        elif len(numbers) >= 6 and len(numbers) % 2 == 0:
            corners = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 2)
            rows.append(as_box(corners, conventions.polygons))
        else:
            raise damaged(
                path,
                f"line {line} has {len(numbers)} numbers, expected 4 for a rectangle, or 6 and "
                "more in pairs for a polygon",
            )
    return from_rows(rows, first_pixel=conventions.pixel(FIRST_PIXEL))


READER = Reader(
    looks_for="`groundtruth.txt` (or `groundtruth_TARGET.txt`) with `color/` or `sequence` beside "
    "it, or with polygons in it",
    matches=matches,
    read=read,
)
"""Reads this layout."""
