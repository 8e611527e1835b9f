"""UAV123 and UAV20L: ``data_seq/UAV123/FOLDER/000001.jpg`` and ``anno/UAV123/NAME.txt``.

Mueller, Smith and Ghanem, "A Benchmark and Simulator for UAV Tracking", ECCV 2016.
"""

from __future__ import annotations

from pathlib import Path

from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import boxes_in
from widthwise.data.clips import Clip, FrameFiles, frame_number, frames_in

FIRST_PIXEL = 1
"""Number of the first pixel in its files; its authors do not say."""
FRAMES = Path("data_seq", "UAV123")
"""Where the frames of both sets are."""
SHORT, LONG = Path("anno", "UAV123"), Path("anno", "UAV20L")
"""Where the boxes of either set are."""

PARTS = {
    "bird1": ((1, 253), (775, 1477), (1573, 2437)),
    "car1": ((1, 751), (751, 1627), (1627, 2629)),
    "car16": ((1, 415), (415, 1993)),
    "car6": ((1, 487), (487, 1807), (1807, 2953), (2953, 3925), (3925, 4861)),
    "car8": ((1, 1357), (1357, 2575)),
    "group1": ((1, 1333), (1333, 2515), (2515, 3925), (3925, 4873)),
    "group2": ((1, 907), (907, 1771), (1771, 2683)),
    "group3": ((1, 1567), (1567, 2827), (2827, 4369), (4369, 5527)),
    "person12": ((1, 601), (601, 1621)),
    "person14": ((1, 847), (847, 1813), (1813, 2923)),
    "person17": ((1, 1501), (1501, 2347)),
    "person19": ((1, 1243), (1243, 2791), (2791, 4357)),
    "person2": ((1, 1189), (1189, 2623)),
    "person4": ((1, 1501), (1501, 2743)),
    "person5": ((1, 877), (877, 2101)),
    "person7": ((1, 1249), (1249, 2065)),
    "person8": ((1, 1075), (1075, 1525)),
    "truck4": ((1, 577), (577, 1261)),
    "uav1": ((1, 1555), (1555, 2377), (2473, 3469)),
}
"""First and last frame of the sequences of UAV123 that share a folder: ``bird1_1``, ``bird1_2`` ...
Others are whole folders, and so are all of UAV20L."""


def matches_short(folder: Path) -> bool:
    """Tell whether a folder holds UAV123."""
    return (folder / FRAMES).is_dir() and (folder / SHORT).is_dir()


def matches_long(folder: Path) -> bool:
    """Tell whether a folder holds UAV20L."""
    return (folder / FRAMES).is_dir() and (folder / LONG).is_dir()


def read_short(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read UAV123.

    Args:
        folder: With ``data_seq`` and ``anno``.
        conventions: What its files leave open.

    Returns:
        A clip per file of boxes, sorted by name. The target is absent where its box is NaN.

    Raises:
        DataError: If frames are missing, a file is damaged, or frames and boxes do not go together.
    """
    return [_clip(folder, path, conventions) for path in sorted((folder / SHORT).glob("*.txt"))]


def read_long(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read UAV20L; see `read_short`."""
    return [_clip(folder, path, conventions) for path in sorted((folder / LONG).glob("*.txt"))]


def _clip(folder: Path, path: Path, conventions: Conventions) -> Clip:
    boxes = boxes_in(path, first_pixel=conventions.pixel(FIRST_PIXEL))
    return Clip(
        name=path.stem,
        images=_frames(folder / FRAMES, path.stem),
        boxes=boxes,
        absent=boxes.isnan().any(dim=1),
        source=path,
    )


def _frames(place: Path, name: str) -> FrameFiles:
    shared, _, part = name.rpartition("_")
    parts = {str(number): part for number, part in enumerate(PARTS.get(shared, ()), 1)}
    if part not in parts:
        return frames_in(place / name)
    first, last = parts[part]
    numbered = ((path, frame_number(path) or 0) for path in frames_in(place / shared).files)
    return FrameFiles(tuple(path for path, number in numbered if first <= number <= last))


SHORT_READER = Reader(
    looks_for="`data_seq/UAV123/FOLDER/` and `anno/UAV123/NAME.txt`",
    matches=matches_short,
    read=read_short,
)
"""Reads UAV123."""
LONG_READER = Reader(
    looks_for="`data_seq/UAV123/FOLDER/` and `anno/UAV20L/NAME.txt`",
    matches=matches_long,
    read=read_long,
)
"""Reads UAV20L."""
