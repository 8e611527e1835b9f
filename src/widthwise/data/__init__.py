"""Data sets by name, and the batches made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from widthwise.data.arrays import ImageClasses, Images, Split
from widthwise.data.cifar import load_cifar10, load_cifar100
from widthwise.data.digits import load_digits
from widthwise.data.folders import load_imagefolder, load_imagenet
from widthwise.data.foreign import load_timm, load_torchvision
from widthwise.data.source import FOLDER_VARIABLE, Source, data_folder
from widthwise.data.tiny_imagenet import load_tiny_imagenet
from widthwise.errors import ConfigError

DATASETS: dict[str, Callable[[Source], ImageClasses]] = {
    "digits": lambda _: load_digits(),
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
    "tiny_imagenet": load_tiny_imagenet,
    "imagenet": load_imagenet,
    "imagefolder": load_imagefolder,
}
"""Name in a recipe -> what loads the data set."""

LIBRARIES: dict[str, Callable[[str, Source], ImageClasses]] = {
    "torchvision": load_torchvision,
    "timm": load_timm,
}
"""What stands before the ``/`` of a name -> what loads a data set that this library knows."""

_ONE_SIZE = ("digits", "cifar10", "cifar100", "tiny_imagenet")


def load_dataset(
    name: str,
    *,
    folder: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
    whole: bool = False,
) -> ImageClasses:
    """Load a data set by name.

    Args:
        name: A key of `DATASETS`, or ``torchvision/NAME`` or ``timm/NAME``.
        folder: Folder of the data sets; the environment variable WIDTHWISE_DATA, or else ``data``,
            if not given.
        download: Whether to download it there if it is not there and can be had.
        image_size: Height and width of squares cut out of images of any size; 224 if not given.
        whole: Whether these are as large as they can be, in training too.

    Returns:
        The data set.

    Raises:
        ConfigError: If there is no such data set, or its images have one size and another is asked
            for.
        DataError: If it is not in the folder, or damaged.
    """
    source = Source(
        folder=data_folder(folder), download=download, image_size=image_size, whole=whole
    )
    library, slash, rest = name.partition("/")
    if slash and library in LIBRARIES:
        return LIBRARIES[library](rest, source)
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=3)
        hint = f"the nearest name is `{near[0]}`; " if near else ""
        known = ", ".join(f"`{known}`" for known in [*DATASETS, *(f"{x}/NAME" for x in LIBRARIES)])
        raise ConfigError(f"No data set named `{name}`.\nHint: {hint}there are {known}.")
    if image_size is not None and name in _ONE_SIZE:
        raise ConfigError(
            f"`task.image_size` is {image_size}, but the images of `{name}` have one size, which "
            "is used as it is.\nHint: leave `task.image_size` out."
        )
    return DATASETS[name](source)


__all__ = [
    "DATASETS",
    "FOLDER_VARIABLE",
    "LIBRARIES",
    "ImageClasses",
    "Images",
    "Split",
    "load_dataset",
    "load_digits",
]
