"""Settings of visual tracking in a recipe."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Literal

from widthwise.data.rendering.settings import RenderSettings
from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.tasks.tracking.task import Tracking


class Footage(Enum):
    """Where clips to train on come from."""

    rendered = "rendered"
    """Rendered from photographs: things that move over other photographs."""
    folder = "folder"
    """Annotated clips in a folder."""


class Rules(Enum):
    """Whose rules scores are taken by."""

    otb = "otb"
    lasot = "lasot"
    trackingnet = "trackingnet"
    got10k = "got10k"


@dataclass(frozen=True, kw_only=True)
class TrackingSettings:
    """Following anything that is marked in the first frame, with a siamese network."""

    name: Literal["tracking"] = "tracking"
    """Name of the task."""
    dataset: Footage = Footage.rendered
    """`rendered` (from photographs) or `folder` (annotated clips)."""
    photographs: str | None = None
    """Folder of photographs to render from: every fourth is kept for testing. Those of scikit-image
    if not given; nothing is downloaded."""
    regions: str | None = None
    """Folder of segmentations of those photographs, under the same names. Without them, targets are
    rectangles and ellipses."""
    render: RenderSettings = field(default_factory=RenderSettings)
    """What rendered clips look like."""
    train_folder: str | None = None
    """Annotated clips to train on, for `dataset: folder`: OTB, LaSOT, TrackingNet, GOT-10k, UAV123,
    VOT or a folder per clip."""
    test_folder: str | None = None
    """Annotated clips to test on; rendered ones if not given."""
    test_clips: int = 8
    """Clips that are rendered to test on."""
    test_length: int = 40
    """Frames of each."""
    pairs: int = 2000
    """Pairs of frames per epoch; rendered ones are the same in every epoch."""
    gap: int = 20
    """Frames from the first of a pair to the second, at most."""
    batch_size: int = 32
    """Pairs per training step, of all processes together."""
    workers: int = 0
    """Processes that read frames; none are needed for rendered pairs, which are kept in memory."""
    radius: float = 8.0
    """Pixels of the search crop around the middle of the target that count as the target."""
    rules: Rules = Rules.otb
    """Whose rules scores are taken by: `otb`, `lasot`, `trackingnet` or `got10k`."""

    def __post_init__(self) -> None:
        problems = [
            f"`task.{name}` must be {rule}: got {getattr(self, name)}"
            for name, rule, holds in (
                ("test_clips", "at least 1", self.test_clips >= 1),
                ("test_length", "at least 2", self.test_length >= 2),
                ("batch_size", "at least 1", self.batch_size >= 1),
                (
                    "pairs",
                    f"at least the batch size, {self.batch_size}",
                    self.pairs >= self.batch_size,
                ),
                ("gap", "at least 1", self.gap >= 1),
                ("workers", "at least 0", self.workers >= 0),
                ("radius", "above 0", self.radius > 0),
            )
            if not holds
        ]
        if (self.dataset is Footage.folder) != (self.train_folder is not None):
            problems.append("`task.dataset: folder` and `task.train_folder` go together")
        if self.regions is not None and self.photographs is None:
            problems.append("`task.regions` goes with `task.photographs`")
        if problems:
            raise ConfigError("The task is set up wrongly:\n    " + "\n    ".join(problems))

    def open(self) -> Tracking:
        """Make the task. Its clips are loaded or rendered when they are first needed.

        Returns:
            The task.
        """
        from widthwise.tasks.tracking.task import Tracking

        return Tracking(self)
