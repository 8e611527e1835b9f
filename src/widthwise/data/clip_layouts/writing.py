"""Clips written as the published sets have them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from widthwise.data.clip_layouts import lasot, otb
from widthwise.data.clip_layouts.opening import Layout
from widthwise.errors import ConfigError, DataError
from widthwise.files import write_atomically
from widthwise.tracking.boxes import known

QUALITY = 90
"""Of JPEG files, if not given."""


def write_clip(
    folder: Path,
    frames: Iterable[Tensor],
    boxes: Tensor,
    absent: Tensor | None = None,
    *,
    layout: Layout = Layout.LASOT,
    suffix: str = ".jpg",
    quality: int = QUALITY,
) -> None:
    """Write a clip into a folder of its own.

    The file of boxes comes last, so that a clip that was not written to its end is not taken for
    one.

    Args:
        folder: Made if it is not there; empty otherwise. Its name is that of the clip.
        frames: uint8, RGB, shape ``[3, h, w]`` each.
        boxes: One per frame, in pixels from 0, shape ``[n, 4]``. Not known ones are written as
            zeros by LaSOT and as NaN by OTB.
        absent: bool, shape ``[n]``; None if the target is never out of sight. LaSOT's file of
            hidden targets holds it; OTB has no place for it.
        layout: `Layout.LASOT` or `Layout.OTB`.
        suffix: ``.jpg``, or ``.png`` to lose nothing.
        quality: Of JPEG files, up to 95.

    Raises:
        ConfigError: If the layout is another one, or the suffix.
        DataError: If the folder has files, or frames, boxes and flags differ in number.
        OSError: If the disk is full or the folder not writable.
    """
    if layout not in (Layout.LASOT, Layout.OTB):
        raise ConfigError(
            f"Clips are not written in the layout `{layout}`.\nHint: `lasot` or `otb`."
        )
    if suffix not in (".jpg", ".png"):
        raise ConfigError(f"Frames are not written as `{suffix}`.\nHint: `.jpg` or `.png`.")
    folder = Path(folder)
    if folder.exists() and any(folder.iterdir()):
        raise DataError(
            f"`{folder}` is not empty.\n"
            "Why: frames that are left over from another clip would be taken for this one's.\n"
            "Hint: name another folder, or delete it."
        )
    flags = torch.zeros(len(boxes), dtype=torch.bool) if absent is None else absent.bool()
    digits = 8 if layout is Layout.LASOT else 4
    count = _write_frames(folder / "img", frames, digits=digits, suffix=suffix, quality=quality)
    if not count == len(boxes) == len(flags):
        raise DataError(
            f"The clip for `{folder}` has {count} frames, {len(boxes)} boxes and {len(flags)} "
            "flags.\nHint: give one of each per frame, and delete the folder."
        )
    if layout is Layout.OTB:
        write_atomically(folder / "groundtruth_rect.txt", _lines(boxes, otb.FIRST_PIXEL, "nan"))
        return
    hidden, outside = lasot.FLAGS
    write_atomically(folder / hidden, ",".join(str(int(flag)) for flag in flags) + "\n")
    write_atomically(folder / outside, ",".join("0" for _ in flags) + "\n")
    write_atomically(folder / lasot.BOXES, _lines(boxes, lasot.FIRST_PIXEL, "0"))


def _write_frames(
    folder: Path, frames: Iterable[Tensor], *, digits: int, suffix: str, quality: int
) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for count, frame in enumerate(frames, 1):
        image = Image.fromarray(frame.permute(1, 2, 0).contiguous().numpy())
        # PNG has no quality; Pillow ignores it there.
        image.save(folder / f"{count:0{digits}d}{suffix}", quality=quality)
    return count


def _lines(boxes: Tensor, first_pixel: int, unknown: str) -> str:
    shifted = boxes.double().clone()
    shifted[:, :2] += first_pixel
    rows = zip(shifted.tolist(), known(boxes).tolist(), strict=True)
    return "".join(
        ",".join(_written(number) if usable else unknown for number in row) + "\n"
        for row, usable in rows
    )


def _written(number: float) -> str:
    """A millionth of a pixel is kept, and whole numbers look like those of the sets."""
    return f"{number:.6f}".rstrip("0").rstrip(".")
