"""OTB: ``NAME/img/0001.jpg`` and ``NAME/groundtruth_rect.txt`` (Wu et al., PAMI 2015)."""

from __future__ import annotations

from pathlib import Path

import torch

from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import boxes_in
from widthwise.data.clips import Clip, FrameFiles, frame_number, frames_in

FIRST_PIXEL = 1
"""Number of the first pixel in its files."""

RANGES = {
    "David": (300, 770),
    "BlurCar1": (247, 988),
    "BlurCar3": (3, 359),
    "BlurCar4": (18, 397),
    "Football1": (1, 74),
    "Freeman3": (1, 460),
    "Freeman4": (1, 283),
    "Diving": (1, 215),
}
"""First and last frame that have a box, where the folder may hold more frames."""


def matches(folder: Path) -> bool:
    """Tell whether a folder is a sequence of this layout."""
    return (folder / "img").is_dir() and any(folder.glob("groundtruth_rect*.txt"))


def read(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read a sequence: one clip, or one per target.

    Args:
        folder: Of the sequence. If it has several files of boxes, such as those of Jogging, the
            clips are called ``Jogging-1`` and ``Jogging-2``.
        conventions: What its files leave open.

    Returns:
        The clips. No frame is flagged: the set gives boxes for hidden targets too.

    Raises:
        DataError: If a file is damaged, or frames and boxes do not go together.
    """
    files = sorted(folder.glob("groundtruth_rect*.txt"))
    frames = frames_in(folder / "img")
    clips = []
    for path in files:
        boxes = boxes_in(path, first_pixel=conventions.pixel(FIRST_PIXEL))
        target = path.name.removeprefix("groundtruth_rect").removesuffix(".txt").strip(".")
        clips.append(
            Clip(
                name=f"{folder.name}-{target}" if target and len(files) > 1 else folder.name,
                images=_with_boxes(frames, folder.name, len(boxes)),
                boxes=boxes,
                absent=torch.zeros(len(boxes), dtype=torch.bool),
                source=path,
            )
        )
    return clips


def _with_boxes(frames: FrameFiles, name: str, boxes: int) -> FrameFiles:
    # Copies of the set exist with and without the frames that have no box.
    if name not in RANGES or len(frames) == boxes:
        return frames
    first, last = RANGES[name]
    numbered = ((path, frame_number(path) or 0) for path in frames.files)
    return FrameFiles(tuple(path for path, number in numbered if first <= number <= last))


READER = Reader(
    looks_for="`img/` and `groundtruth_rect.txt` (or `groundtruth_rect.1.txt` ...)",
    matches=matches,
    read=read,
)
"""Reads this layout."""
