"""Data sets by name, and the batches made of them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from widthwise.data.arrays import ImageClasses, Images, Split
from widthwise.data.cifar import load_cifar10, load_cifar100
from widthwise.data.digits import load_digits
from widthwise.data.source import FOLDER_VARIABLE, Source, data_folder
from widthwise.errors import ConfigError

DATASETS: dict[str, Callable[[Source], ImageClasses]] = {
    "digits": lambda _: load_digits(),
    "cifar10": load_cifar10,
    "cifar100": load_cifar100,
}
"""Name in a recipe -> what loads the data set."""


def load_dataset(
    name: str,
    *,
    folder: Path | None = None,
    download: bool = False,
    image_size: int | None = None,
) -> ImageClasses:
    """Load a data set by name.

    Args:
        name: A key of `DATASETS`.
        folder: Folder of the data sets; the environment variable WIDTHWISE_DATA, or else ``data``,
            if not given.
        download: Whether to download it there if it is not there and can be had.
        image_size: Height and width of images that are cut out of files of any size.

    Returns:
        The data set.

    Raises:
        ConfigError: If there is no such data set, or its images have one size and another is asked
            for.
        DataError: If it is not in the folder, or damaged.
    """
    if name not in DATASETS:
        near = difflib.get_close_matches(name, DATASETS, n=3)
        hint = f"the nearest name is `{near[0]}`; " if near else ""
        known = ", ".join(f"`{known}`" for known in DATASETS)
        raise ConfigError(f"No data set named `{name}`.\nHint: {hint}there are {known}.")
    source = Source(folder=data_folder(folder), download=download, image_size=image_size)
    return DATASETS[name](source)


__all__ = [
    "DATASETS",
    "FOLDER_VARIABLE",
    "ImageClasses",
    "Images",
    "Split",
    "load_dataset",
    "load_digits",
]
