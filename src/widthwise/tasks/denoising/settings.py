"""Settings of denoising in a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Literal

from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.tasks.denoising.task import Denoising


class Place(Enum):
    """Where photographs come from."""

    photographs = "photographs"
    """Those that scikit-image brings along."""
    folder = "folder"
    """Image files below `train` and `test` in a folder."""


class Distance(Enum):
    """What training makes small: a mean over pixels."""

    l1 = "l1"
    """Absolute differences."""
    mse = "mse"
    """Squared differences."""


@dataclass(frozen=True, kw_only=True)
class DenoisingSettings:
    """Removing white Gaussian noise of one known strength from photographs."""

    name: Literal["denoising"] = "denoising"
    """Name of the task."""
    dataset: Place = Place.photographs
    """`photographs` (those of scikit-image, nothing is downloaded) or `folder`."""
    folder: str | None = None
    """Has folders `train` and `test` of image files; for `dataset: folder`."""
    colour: bool = False
    """Whether images are RGB; grey if not."""
    sigma: float = 70.0
    """Standard deviation of the noise, for pixels of 0 to 255."""
    patch: int = 64
    """Height and width of the crops that are trained on."""
    batch_size: int = 64
    """Crops per training step, of all processes together."""
    samples_per_epoch: int = 6400
    """Crops per epoch."""
    loss: Distance = Distance.l1
    """`l1` or `mse`."""
    multiple: int = 1
    """Test images are padded to sides that are a multiple of this, and cut back afterwards; for
    networks that halve their maps."""
    test_side: int | None = None
    """Sides of test images longer than this are cut to it, around the middle."""

    def __post_init__(self) -> None:
        problems = [
            f"`task.{name}` must be {rule}: got {getattr(self, name)}"
            for name, rule, holds in (
                ("sigma", "above 0", 0 < self.sigma < math.inf),
                ("patch", "at least 1", self.patch >= 1),
                ("batch_size", "at least 1", self.batch_size >= 1),
                (
                    "samples_per_epoch",
                    f"at least the batch size, {self.batch_size}",
                    self.samples_per_epoch >= self.batch_size,
                ),
                ("multiple", "at least 1", self.multiple >= 1),
                ("test_side", "at least 16", self.test_side is None or self.test_side >= 16),
            )
            if not holds
        ]
        if (self.folder is not None) != (self.dataset is Place.folder):
            problems.append("`task.folder` goes with `task.dataset: folder`, and it needs one")
        if problems:
            raise ConfigError("The task is set up wrongly:\n    " + "\n    ".join(problems))

    def open(self) -> Denoising:
        """Make the task. Its photographs are loaded when they are first needed.

        Returns:
            The task.
        """
        from widthwise.tasks.denoising.task import Denoising

        return Denoising(self)
