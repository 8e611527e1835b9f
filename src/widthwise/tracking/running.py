"""What a tracker is, and how it is run over a video."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Tracker(Protocol):
    """Finds one target again in every frame of a video.

    Boxes are x, y, width and height in pixels; the left edge of the first pixel is 0.
    """

    def start(self, frame: Tensor, box: Tensor) -> None:
        """Look at the target.

        Args:
            frame: uint8, shape ``[3, h, w]``.
            box: Shape ``[4]``.
        """
        ...

    def follow(self, frame: Tensor) -> Tensor:
        """Find the target in the next frame.

        Args:
            frame: uint8, shape ``[3, h, w]``.

        Returns:
            Its box, shape ``[4]``.
        """
        ...


class ScoredTracker(Tracker, Protocol):
    """A tracker that says how sure it is."""

    score: float
    """Of the last frame, as a share in ``[0, 1]``; NaN before the second."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """One frame of a run."""

    frame: Tensor
    """uint8, shape ``[3, h, w]``."""
    box: Tensor
    """float64, shape ``[4]``; of the first frame, the one that was given."""
    seconds: float
    """What the tracker took to find it; 0 for the first frame."""


@dataclass(frozen=True, kw_only=True)
class Track:
    """What a tracker made of a video."""

    boxes: Tensor
    """float64, shape ``[n, 4]``; the first is the one it was given."""
    frames_per_second: float
    """Without the first frame, and without reading files. 0 if there is no other frame."""


def steps_of(tracker: Tracker, frames: Iterable[Tensor], box: Tensor) -> Iterator[Step]:
    """Run a tracker over a video, and see what it does frame by frame.

    Args:
        tracker: Started anew.
        frames: uint8, shape ``[3, h, w]`` each.
        box: Of the target in the first frame, shape ``[4]``.

    Yields:
        A step per frame. The next frame is not read before the step is taken.
    """
    found, seconds = box.double(), 0.0
    for number, frame in enumerate(frames):
        if number == 0:
            tracker.start(frame, found)
        else:
            begin = time.perf_counter()
            found = tracker.follow(frame).double()
            seconds = time.perf_counter() - begin
        yield Step(frame=frame, box=found, seconds=seconds)


def run_tracker(tracker: Tracker, frames: Iterable[Tensor], box: Tensor) -> Track:
    """Run a tracker over a video, once from the first frame to the last.

    Args:
        tracker: Started anew.
        frames: uint8, shape ``[3, h, w]`` each; at least one.
        box: Of the target in the first frame, shape ``[4]``.

    Returns:
        A box per frame.
    """
    taken = [(step.box, step.seconds) for step in steps_of(tracker, frames, box)]
    return Track(
        boxes=torch.stack([found for found, _ in taken]),
        frames_per_second=speed_of([seconds for _, seconds in taken]),
    )


def speed_of(seconds: Sequence[float]) -> float:
    """Compute how many frames a tracker follows in a second.

    Args:
        seconds: What each frame took, the first included.

    Returns:
        The mean over all but the first frame; 0 if there is no other.

    Example:
        >>> speed_of([0.0, 0.25, 0.25])
        4.0
    """
    whole = sum(seconds[1:])
    return (len(seconds) - 1) / whole if whole else 0.0


class Still:
    """The box that never moves: what every tracker has to beat."""

    def start(self, frame: Tensor, box: Tensor) -> None:
        """Remember the box; see `Tracker`."""
        self._box = box

    def follow(self, frame: Tensor) -> Tensor:
        """Return the same box; see `Tracker`."""
        return self._box
