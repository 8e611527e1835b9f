"""TrackingNet: ``TRAIN_0/frames/VIDEO/0.jpg``, ``TRAIN_0/anno/VIDEO.txt`` (Müller et al., 2018)."""

from __future__ import annotations

from pathlib import Path

import torch

from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import boxes_in, only_first
from widthwise.data.clips import Clip, frames_in
from widthwise.errors import DataError

FIRST_PIXEL = 0
"""Number of the first pixel in its files; its authors do not say."""


def matches(folder: Path) -> bool:
    """Tell whether a folder is a chunk of this layout, such as ``TRAIN_0`` or ``TEST``."""
    return (folder / "frames").is_dir() and (folder / "anno").is_dir()


def read(folder: Path, conventions: Conventions) -> list[Clip]:
    """Read a chunk.

    Args:
        folder: With ``frames`` and ``anno``.
        conventions: What its files leave open.

    Returns:
        A clip per video, sorted by name. Of a test video only the first box is known.

    Raises:
        DataError: If a video has frames and no boxes or boxes and no frames, a file is damaged, or
            frames and boxes do not go together.
    """
    files = {path.stem: path for path in (folder / "anno").glob("*.txt")}
    videos = {path.name: path for path in (folder / "frames").iterdir() if path.is_dir()}
    alone = sorted(files.keys() ^ videos.keys())
    if alone:
        named = "\n    ".join(
            f"`{name}` has {'boxes and no frames' if name in files else 'frames and no boxes'}"
            for name in alone[:8]
        )
        raise DataError(
            f"In `{folder}`, {len(alone)} videos are not complete:\n    {named}\n"
            "Why: frames are in `frames/VIDEO/`, boxes in `anno/VIDEO.txt`.\n"
            "Hint: unpack the rest of the chunk, or remove what is left over."
        )
    clips = []
    for name in sorted(videos):
        frames = frames_in(videos[name])
        boxes = boxes_in(files[name], first_pixel=conventions.pixel(FIRST_PIXEL))
        clips.append(
            Clip(
                name=name,
                images=frames,
                boxes=only_first(boxes, frames=len(frames)),
                absent=torch.zeros(len(frames), dtype=torch.bool),
                source=files[name],
            )
        )
    return clips


READER = Reader(looks_for="`frames/VIDEO/` and `anno/VIDEO.txt`", matches=matches, read=read)
"""Reads this layout."""
