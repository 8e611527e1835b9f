"""Settings of denoising and of super-resolution in a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.tasks.restoration.task import Restoration


class Place(Enum):
    """Where photographs come from."""

    photographs = "photographs"
    """Those that scikit-image brings along."""
    folder = "folder"
    """Image files below `train` and `test` in a folder, or in two folders."""


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
    train_folder: str | None = None
    """Image files to train on, in place of `folder/train`."""
    test_folder: str | None = None
    """Image files to test on, in place of `folder/test`."""
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
    workers: int = 0
    """Processes that read files; none are needed for sets that are kept in memory."""
    loss: Distance = Distance.l1
    """`l1` or `mse`."""
    multiple: int = 1
    """Test images are padded to sides that are a multiple of this, and cut back afterwards; for
    networks that halve their maps."""
    test_side: int | None = None
    """Sides of test images longer than this are cut to it, around the middle."""
    tile: int | None = None
    """Test images are restored in squares of this side, for want of memory; whole if not given."""
    tile_border: int = 32
    """Pixels around a tile that are restored with it and thrown away. If a network looks no
    farther, tiles change nothing."""
    self_ensemble: bool = False
    """Whether test images are restored in all eight orientations, and the results averaged."""

    def __post_init__(self) -> None:
        _refuse(self, [("sigma", "above 0", 0 < self.sigma < math.inf)])

    def open(self) -> Restoration:
        """Make the task. Its photographs are loaded when they are first needed.

        Returns:
            The task.
        """
        from widthwise.tasks.restoration.degradation import Noise
        from widthwise.tasks.restoration.task import Restoration

        return Restoration(self, Noise(sigma=self.sigma))


@dataclass(frozen=True, kw_only=True)
class SuperResolutionSettings:
    """Enlarging photographs that bicubic scaling has made smaller."""

    name: Literal["super_resolution"] = "super_resolution"
    """Name of the task."""
    dataset: Place = Place.photographs
    """`photographs` (those of scikit-image, nothing is downloaded) or `folder`."""
    folder: str | None = None
    """Has folders `train` and `test` of image files; for `dataset: folder`. Small images are read
    where they lie in one of the layouts of published sets, such as `test/HR` and
    `test/LR_bicubic/X4`, and made of the large ones elsewhere."""
    train_folder: str | None = None
    """Image files to train on, in place of `folder/train`, such as `DIV2K/DIV2K_train_HR`."""
    test_folder: str | None = None
    """Image files to test on, in place of `folder/test`, such as `benchmark/Set5`."""
    scale: int = 4
    """How many times larger the output is, in both directions."""
    colour: bool = True
    """Whether images are RGB; grey if not."""
    patch: int = 96
    """Height and width of the large crops that are trained on."""
    batch_size: int = 16
    """Crops per training step, of all processes together."""
    samples_per_epoch: int = 16000
    """Crops per epoch."""
    workers: int = 0
    """Processes that read files; none are needed for sets that are kept in memory."""
    loss: Distance = Distance.l1
    """`l1` or `mse`."""
    luma: bool = True
    """Whether brightness alone is compared, as published for Set5, Set14, B100 and Urban100, or all
    channels, as for DIV2K."""
    shave: int | None = None
    """Pixels at the border that are not measured: `scale` if not given; published for DIV2K:
    `scale` + 6."""
    multiple: int = 1
    """Test images are padded to sides that are a multiple of this, and cut back afterwards; for
    networks that halve their maps."""
    test_side: int | None = None
    """Sides of large test images longer than this are cut to it, around the middle."""
    tile: int | None = None
    """Small test images are enlarged in squares of this side, for want of memory; whole if not
    given."""
    tile_border: int = 32
    """Pixels around a tile that are enlarged with it and thrown away. If a network looks no
    farther, tiles change nothing."""
    self_ensemble: bool = False
    """Whether test images are enlarged in all eight orientations, and the results averaged."""

    def __post_init__(self) -> None:
        _refuse(
            self,
            [
                ("scale", "at least 2", self.scale >= 2),
                (
                    "patch",
                    f"a multiple of the scale, {self.scale}",
                    self.scale < 2 or self.patch % self.scale == 0,
                ),
                ("shave", "at least 0", self.shave is None or self.shave >= 0),
            ],
        )

    def open(self) -> Restoration:
        """Make the task. Its photographs are loaded when they are first needed.

        Returns:
            The task.
        """
        from widthwise.tasks.restoration.degradation import Downscaling
        from widthwise.tasks.restoration.task import Restoration

        shave = self.scale if self.shave is None else self.shave
        degradation = Downscaling(scale=self.scale, shave=shave, luma=self.luma and self.colour)
        return Restoration(self, degradation)


RestorationSettings = DenoisingSettings | SuperResolutionSettings


def _refuse(settings: RestorationSettings, own: Iterable[tuple[str, str, bool]]) -> None:
    """Raise an error that names every wrong setting by its key in a recipe."""
    batch, side, tile = settings.batch_size, settings.test_side, settings.tile
    rules: list[tuple[str, str, Any]] = [
        *own,
        ("patch", "at least 1", settings.patch >= 1),
        ("batch_size", "at least 1", batch >= 1),
        (
            "samples_per_epoch",
            f"at least the batch size, {batch}",
            settings.samples_per_epoch >= batch,
        ),
        ("workers", "at least 0", settings.workers >= 0),
        ("multiple", "at least 1", settings.multiple >= 1),
        ("test_side", "at least 16", side is None or side >= 16),
        ("tile", "at least 1", tile is None or tile >= 1),
        ("tile_border", "at least 0", settings.tile_border >= 0),
    ]
    problems = [
        f"`task.{name}` must be {rule}: got {getattr(settings, name)}"
        for name, rule, holds in rules
        if not holds
    ]
    folders = settings.folder, settings.train_folder, settings.test_folder
    if settings.dataset is Place.photographs and any(folders):
        problems.append("`task.folder` goes with `task.dataset: folder`")
    if settings.dataset is Place.folder and not (folders[0] or all(folders[1:])):
        problems.append(
            "`task.dataset: folder` needs `task.folder`, or both `task.train_folder` and "
            "`task.test_folder`"
        )
    if problems:
        raise ConfigError("The task is set up wrongly:\n    " + "\n    ".join(problems))
