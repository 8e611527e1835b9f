"""GOT-10k: ``train/GOT-10k_Train_000001/00000001.jpg``, boxes and labels (Huang et al., 2021)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import boxes_in, flags_in, only_first
from widthwise.data.clips import Clip, frames_in

FIRST_PIXEL = 1
"""Number of the first pixel in its files."""
BOXES = "groundtruth.txt"
"""Its file of boxes; that of a test sequence has one line."""
COVER, ABSENCE = "cover.label", "absence.label"
"""Eighths of the target that are visible, and whether it is absent."""


def matches(folder: Path) -> bool:
    """Tell whether a folder is a sequence of this layout."""
    others = any((folder / name).is_file() for name in (COVER, ABSENCE, "meta_info.ini"))
    return (folder / BOXES).is_file() and (others or folder.name.startswith("GOT-10k_"))


def read(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read a sequence.

    Args:
        folder: Of the sequence.
        conventions: What its files leave open.

    Returns:
        One clip. Its target is absent where nothing of it is visible; of a test sequence only the
        first box is known.

    Raises:
        DataError: If a file is damaged, or frames, boxes and labels do not go together.
    """
    frames = frames_in(folder)
    boxes = boxes_in(folder / BOXES, first_pixel=conventions.pixel(FIRST_PIXEL))
    return [
        Clip(
            name=folder.name,
            images=frames,
            boxes=only_first(boxes, frames=len(frames)),
            absent=_absent(folder, len(frames)),
            source=folder / BOXES,
        )
    ]


def _absent(folder: Path, frames: int) -> Tensor:
    # What the benchmark leaves out are frames without a visible part.
    if (folder / COVER).is_file():
        return ~flags_in(folder / COVER, frames=frames)
    if (folder / ABSENCE).is_file():
        return flags_in(folder / ABSENCE, frames=frames)
    return torch.zeros(frames, dtype=torch.bool)


READER = Reader(
    looks_for="frames and `groundtruth.txt` in a folder with `cover.label`, `absence.label` or "
    "`meta_info.ini`, or with a name that starts with `GOT-10k_`",
    matches=matches,
    read=read,
)
"""Reads this layout."""
