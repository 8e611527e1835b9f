"""Clips to track in: frames that are read when they are needed, and where the target is in each.

What is wrong with a clip is said when it is opened: no frames, more or fewer boxes or flags than
frames, a first box that is not known or has no area. A frame that cannot be read, or has another
size than the first, is an error when it is reached. A clip of one frame is a clip; boxes that are
not known or have no area after the first are NaN, and every benchmark has a rule for them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from widthwise.data.decoding import FileItems
from widthwise.data.photographs import SUFFIXES
from widthwise.errors import DataError
from widthwise.tracking.boxes import known


class Frames(Protocol):
    """Frames of one video, by number; a list of tensors is one too."""

    def __len__(self) -> int:
        """Count the frames."""
        ...

    def __getitem__(self, number: int, /) -> Tensor:
        """Give one frame: uint8, RGB, shape ``[3, h, w]``."""
        ...


@dataclass(frozen=True)
class FrameFiles:
    """Frames that are image files, decoded whenever they are asked for. Grey ones become RGB."""

    folder: Path
    """Where they are."""
    names: tuple[str, ...]
    """At least one, in the order of time. Not paths: the largest sets have millions of frames, and
    a path takes ten times the memory."""

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, number: int, /) -> Tensor:
        frame = self._decoded(number)
        if frame.shape[1:] != self.size:
            height, width = self.size
            raise DataError(
                f"The frame `{self.folder / self.names[number]}` is {frame.shape[2]} wide and "
                f"{frame.shape[1]} high, the first one of its clip is {width} wide and {height} "
                "high.\n"
                "Why: boxes are in pixels, and mean another place once the frame is scaled.\n"
                "Hint: get the clip again, or cut it in two where the size changes."
            )
        return frame

    def between(self, first: int, last: int) -> FrameFiles:
        """Leave out frames by the numbers in their names.

        Args:
            first: Smallest number that stays.
            last: Largest that stays.

        Returns:
            The others; a name without a number is left out.
        """
        numbered = ((name, frame_number(name)) for name in self.names)
        kept = (name for name, number in numbered if number and first <= number <= last)
        return FrameFiles(self.folder, tuple(kept))

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the first frame in pixels; the others must have the same."""
        _, height, width = self._decoded(0).shape
        return height, width

    def _decoded(self, number: int) -> Tensor:
        from torchvision.transforms.v2.functional import pil_to_tensor

        items = FileItems(files=((self.folder / self.names[number], 0),), mode="RGB")
        return pil_to_tensor(items[0][0])


@dataclass(frozen=True)
class _FirstFrames:
    """Some frames of a clip, from the first."""

    images: Frames
    count: int

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int, /) -> Tensor:
        return self.images[range(self.count)[number]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One target in one video.

    Example:
        >>> frames = [torch.zeros(3, 48, 64, dtype=torch.uint8)] * 2
        >>> boxes = torch.tensor([[5, 5, 20, 10], [7, 5, 20, 10]]).double()
        >>> clip = Clip(name="still", images=frames, boxes=boxes, absent=torch.zeros(2).bool())
        >>> len(clip), clip.size, [tuple(frame.shape) for frame in clip.frames(1)]
        (2, (48, 64), [(3, 48, 64)])
    """

    name: str
    """Of the sequence, and of the target where a video has several."""
    images: Frames
    """Its frames; decoded one by one if they are files."""
    boxes: Tensor
    """x, y, width and height per frame in pixels, from 0; float64, shape ``[n, 4]``. NaN where it
    is not known; the first one is."""
    absent: Tensor
    """Whether the target is out of sight; bool, shape ``[n]``. A box may be given all the same."""
    source: Path | None = None
    """File of the boxes, for messages."""

    def __post_init__(self) -> None:
        where = f"`{self.source}`" if self.source else f"The clip `{self.name}`"
        frames, boxes = len(self.images), self.boxes
        if not frames:
            raise DataError(
                f"The clip `{self.name}` has no frames.\nHint: a clip has at least one."
            )
        if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype != torch.float64:
            raise DataError(
                f"{where} has boxes of shape {list(boxes.shape)} and type {boxes.dtype}, expected "
                "[n, 4] and torch.float64.\n"
                "Hint: one row per frame with x, y, width and height; `boxes.double()`."
            )
        for what, count in (("boxes", len(boxes)), ("flags of absence", len(self.absent))):
            if count != frames:
                raise DataError(
                    f"{where} has {count} {what} for {frames} frames.\n"
                    "Why: with one missing or too many, nobody knows which frame each belongs to.\n"
                    "Hint: count the lines that are not empty, and the frames; get the clip again, "
                    "or remove what is too much at the end."
                )
        if not known(boxes[:1]).all():
            shown = ",".join(f"{number:g}" for number in boxes[0].tolist())
            raise DataError(
                f"{where} has the box `{shown}` for the first frame: it is not known, or has no "
                "area.\n"
                "Why: a tracker learns what to follow from the first box.\n"
                "Hint: correct its first line, or remove frames and lines up to the first one "
                "with a box."
            )

    def __len__(self) -> int:
        return len(self.images)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Height and width of the frames in pixels."""
        _, height, width = self.images[0].shape
        return height, width

    @property
    def seen(self) -> Any:
        """Numbers of the frames in which the target is seen and its box known, in order."""
        return (known(self.boxes) & ~self.absent).nonzero()[:, 0].numpy()

    @property
    def has_truth(self) -> bool:
        """Whether results can be judged: more boxes are known than the first.

        Test sets whose boxes are kept by their authors have none. A clip of one frame has.
        """
        return len(self) == 1 or bool(known(self.boxes[1:]).any())

    def beginning(self, length: int) -> Clip:
        """Leave out what comes after some frames.

        Args:
            length: Frames to keep; a clip that is no longer stays as it is.

        Returns:
            A clip of the same name.
        """
        if len(self) <= length:
            return self
        return replace(
            self,
            images=_FirstFrames(self.images, length),
            boxes=self.boxes[:length],
            absent=self.absent[:length],
        )

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """Read frames one after the other.

        Args:
            start: Number of the first, from 0.
            stop: Number of the first that is not read; None for all up to the last.

        Yields:
            uint8, RGB, shape ``[3, h, w]``.

        Raises:
            DataError: If a frame cannot be read or has another size than the first.
        """
        for number in range(*slice(start, stop).indices(len(self))):
            yield self.images[number]


def frames_in(*folders: Path) -> FrameFiles:
    """Find the frames of a clip.

    Args:
        folders: Where they may be. The first one with image files is taken.

    Returns:
        They, in the order of their numbers.

    Raises:
        DataError: If there are none.
    """
    for folder in folders:
        if names := frame_names(folder):
            return FrameFiles(folder, names)
    places = " nor in ".join(f"`{folder}`" for folder in folders)
    raise DataError(
        f"There are no frames in {places}.\n"
        f"Hint: frames are image files ({', '.join(SUFFIXES)}); get the clip again."
    )


def frame_names(folder: Path) -> tuple[str, ...]:
    """List the image files in a folder in the order of their numbers.

    Args:
        folder: The folder; those below it are not looked into.

    Returns:
        Names, so that ``10.jpg`` comes after ``9.jpg``. None if it is not a folder.
    """
    if not folder.is_dir():
        return ()
    # Hidden files that macOS adds to archives are called like the frames.
    # Names alone: sets have millions of frames, and a path for each takes many times as long.
    names = (name for name in os.listdir(folder) if name[0] != ".")  # noqa: PTH208
    return tuple(sorted((name for name in names if _is_image(name)), key=_natural))


def frame_number(name: str) -> int | None:
    """Return the last number in the name of a file.

    Args:
        name: Of the file.

    Returns:
        It, or None if there is none.

    Example:
        >>> frame_number("clip2_000209.jpg"), frame_number("frame.jpg")
        (209, None)
    """
    found = re.findall(r"\d+", name.rpartition(".")[0])
    return int(found[-1]) if found else None


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _natural(name: str) -> tuple[tuple[str | int, ...], str]:
    # Odd places of the split are digits, so that numbers are never compared with text.
    parts = re.split(r"(\d+)", name)
    return tuple(int(part) if n % 2 else part for n, part in enumerate(parts)), name
