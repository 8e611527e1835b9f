"""Settings of image classification in a recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.tasks.classification.task import Classification


@dataclass(frozen=True, kw_only=True)
class ClassificationSettings:
    """Image classification: the images, and how they are varied in training."""

    name: Literal["classification"] = "classification"
    """Name of the task."""
    dataset: str
    """`digits`, `cifar10`, `cifar100`, `tiny_imagenet`, `imagenet`, `imagefolder`,
    `torchvision/NAME`, `timm/torch/NAME` or `timm/hfds/NAME`."""
    folder: str | None = None
    """Where its files are. The environment variable WIDTHWISE_DATA, or else `data`, if not
    given."""
    download: bool = False
    """Download the data set into the folder if it is not there."""
    image_size: int | None = None
    """Height and width of images that are cut out of larger ones."""
    whole: bool = False
    """Resize images as they are, rather than train on parts of any size and place and leave off a
    margin in evaluation: for small images, and those whose rim matters."""
    mean: tuple[float, ...] | None = None
    """Of values that were divided by 255, per channel, as a trained network is used to; of the data
    set if not given."""
    std: tuple[float, ...] | None = None
    """Their deviations."""
    batch_size: int = 64
    """Images per training step, of all processes together."""
    shift: int = 0
    """Training images are shifted at random by up to this many pixels."""
    flip: bool = False
    """Training images are mirrored at random, left to right."""
    workers: int = 0
    """Processes that decode image files. Data sets in memory need none."""
    label_smoothing: float = 0.0
    """Share of the target that is spread evenly over all classes."""
    mixup: float = 0.0
    """Mixup with this alpha; 0 for none. With `cutmix`, each batch takes one of both."""
    cutmix: float = 0.0
    """CutMix with this alpha; 0 for none."""

    def __post_init__(self) -> None:
        problems = [
            f"`task.{name}` must be {rule}: got {getattr(self, name)}"
            for name, rule, holds in (
                ("batch_size", "at least 1", self.batch_size >= 1),
                ("shift", "at least 0", self.shift >= 0),
                ("image_size", "at least 1", self.image_size is None or self.image_size >= 1),
                ("workers", "at least 0", self.workers >= 0),
                ("mean", "within [0, 1]", all(0 <= each <= 1 for each in self.mean or ())),
                ("std", "above 0 and at most 1", all(0 < each <= 1 for each in self.std or ())),
                ("label_smoothing", "in [0, 1)", 0 <= self.label_smoothing < 1),
                ("mixup", "at least 0", self.mixup >= 0),
                ("cutmix", "at least 0", self.cutmix >= 0),
            )
            if not holds
        ]
        if problems:
            raise ConfigError("The task is set up wrongly:\n    " + "\n    ".join(problems))

    def open(self) -> Classification:
        """Make the task. Its images are loaded when they are first needed.

        Returns:
            The task.
        """
        from widthwise.tasks.classification.task import Classification

        return Classification(self)
