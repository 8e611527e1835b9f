"""A plain folder of frames with a file of boxes beside them, for clips of one's own."""

from __future__ import annotations

from pathlib import Path

import torch

from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import boxes_in
from widthwise.data.clips import Clip, frames_in
from widthwise.errors import DataError

FIRST_PIXEL = 0
"""Number of the first pixel in the file of boxes."""


def matches(folder: Path) -> bool:
    """Tell whether a folder has boxes."""
    return any(folder.glob("groundtruth*.txt"))


def read(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read a folder.

    Args:
        folder: With frames, or with ``img`` that holds them.
        conventions: What its files leave open.

    Returns:
        One clip.

    Raises:
        DataError: If there are several files of boxes, a file is damaged, or frames and boxes do
            not go together.
    """
    files = sorted(folder.glob("groundtruth*.txt"))
    if len(files) > 1:
        raise DataError(
            f"`{folder}` has {len(files)} files of boxes: "
            f"{', '.join(f'`{path.name}`' for path in files)}.\n"
            "Why: a plain folder of frames has one target.\n"
            "Hint: leave one of them there, or name the layout of the set."
        )
    boxes = boxes_in(files[0], first_pixel=conventions.pixel(FIRST_PIXEL))
    return [
        Clip(
            name=folder.name,
            images=frames_in(folder, folder / "img"),
            boxes=boxes,
            absent=torch.zeros(len(boxes), dtype=torch.bool),
            source=files[0],
        )
    ]


READER = Reader(
    looks_for="frames, there or in `img/`, and `groundtruth.txt` (or one other `groundtruth*.txt`)",
    matches=matches,
    read=read,
)
"""Reads this layout."""
