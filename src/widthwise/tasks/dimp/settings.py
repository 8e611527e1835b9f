"""Settings of training DiMP in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from widthwise.errors import ConfigError
from widthwise.tasks.tracking.settings import Rules

if TYPE_CHECKING:
    from widthwise.tasks.dimp.task import DimpTraining

_CELL = 16
"""Pixels of a crop per cell of the scores."""


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """A folder to draw training clips from."""

    folder: str
    """A set, or a part of one: OTB, LaSOT, TrackingNet, GOT-10k, UAV123, VOT or a folder per clip;
    with `boxes`, images."""
    weight: float = 1.0
    """How often clips are drawn from it, beside the other folders; all its clips are equally
    likely."""
    only: str | None = None
    """File with the names of the clips to take, one a line; all of them if not given."""
    without: str | None = None
    """File with the names of clips to leave out, such as those of a test set."""
    boxes: str | None = None
    """JSON of COCO with the boxes of the images in the folder, each of which is a still clip."""


@dataclass(frozen=True, kw_only=True)
class DimpTaskSettings:
    """Following anything that is marked in the first frame, with DiMP."""

    name: Literal["dimp"] = "dimp"
    """Name of the task."""
    sources: tuple[ClipSource, ...] = ()
    """Folders to train on: `{folder: data/got10k/train, weight: 1}`, with `only`, `without` and
    `boxes` where needed."""
    test_folder: str | None = None
    """Annotated clips to test on, of any of these layouts."""
    test_only: str | None = None
    """File with the names of the clips to test on, one a line; all of them if not given."""
    test_clips: int | None = 8
    """Clips that are tested on after every epoch, evenly spread over all by name; all if null."""
    test_length: int | None = 200
    """Frames of each that are tested on; all if null."""
    samples: int = 26_000
    """Samples per epoch."""
    frames: int = 3
    """Frames of a sample to learn the target on, and as many to find it in."""
    gap: int = 30
    """Frames of a video from the base frame to the others, at most."""
    side: int = 288
    """Height and width of crops in pixels, a multiple of 16."""
    proposals: int = 8
    """Boxes that are judged in each frame."""
    batch_size: int = 10
    """Samples per training step, of all processes together."""
    workers: int = 0
    """Processes that read frames."""
    rules: Rules = Rules.lasot
    """Whose rules scores are taken by: `otb`, `lasot`, `trackingnet` or `got10k`."""

    def __post_init__(self) -> None:
        problems = [
            f"`task.{name}` must be {rule}: got {getattr(self, name)}"
            for name, rule, holds in (
                ("test_clips", "at least 1", self.test_clips is None or self.test_clips >= 1),
                ("test_length", "at least 2", self.test_length is None or self.test_length >= 2),
                ("batch_size", "at least 1", self.batch_size >= 1),
                (
                    "samples",
                    f"at least the batch size, {self.batch_size}",
                    self.samples >= self.batch_size,
                ),
                ("frames", "at least 1", self.frames >= 1),
                ("gap", "at least 1", self.gap >= 1),
                (
                    "side",
                    f"a multiple of {_CELL} of at least {4 * _CELL}",
                    self.side % _CELL == 0 and self.side >= 4 * _CELL,
                ),
                ("proposals", "at least 1", self.proposals >= 1),
                ("workers", "at least 0", self.workers >= 0),
            )
            if not holds
        ]
        if not self.sources:
            problems.append("`task.sources` is empty: name at least one folder to train on")
        if self.test_folder is None:
            problems.append("`task.test_folder` is missing: name a folder to test on")
        problems += [
            f"`weight` of `{source.folder}` must be above 0: got {source.weight}"
            for source in self.sources
            if not source.weight > 0
        ]
        if problems:
            raise ConfigError("The task is set up wrongly:\n    " + "\n    ".join(problems))

    def open(self) -> DimpTraining:
        """Make the task. Its clips are looked up when they are first needed.

        Returns:
            The task.
        """
        from widthwise.tasks.dimp.task import DimpTraining

        return DimpTraining(self)
