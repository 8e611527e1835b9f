"""LaSOT: ``class/class-N/img/00000001.jpg``, boxes and two files of flags (Fan et al., 2019)."""

from __future__ import annotations

from pathlib import Path

from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import boxes_in, flags_in
from widthwise.data.clips import Clip, frames_in

FIRST_PIXEL = 1
"""Number of the first pixel in its files. That of the 150 clips added in 2020 looks like 0."""
BOXES = "groundtruth.txt"
"""Its file of boxes."""
FLAGS = ("full_occlusion.txt", "out_of_view.txt")
"""Its files of flags; the target is absent where one of them says so."""


def matches(folder: Path) -> bool:
    """Tell whether a folder is a sequence of this layout."""
    has_flags = any((folder / name).is_file() for name in FLAGS)
    return has_flags and (folder / "img").is_dir() and (folder / BOXES).is_file()


def read(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read a sequence.

    Args:
        folder: Of the sequence.
        conventions: What its files leave open.

    Returns:
        One clip.

    Raises:
        DataError: If a file is damaged or missing, or frames, boxes and flags do not go together.
    """
    frames = frames_in(folder / "img")
    hidden, outside = (flags_in(folder / name, frames=len(frames)) for name in FLAGS)
    return [
        Clip(
            name=folder.name,
            images=frames,
            boxes=boxes_in(folder / BOXES, first_pixel=conventions.pixel(FIRST_PIXEL)),
            absent=hidden | outside,
            source=folder / BOXES,
        )
    ]


READER = Reader(
    looks_for="`img/`, `groundtruth.txt`, `full_occlusion.txt` and `out_of_view.txt`",
    matches=matches,
    read=read,
)
"""Reads this layout."""
