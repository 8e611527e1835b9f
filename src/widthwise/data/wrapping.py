"""Turn two splits of another library into a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from widthwise.data.arrays import ImageClasses, Split, channel_statistics
from widthwise.data.decoding import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    SIZE,
    Items,
    OnDemandSplit,
    OtherSizeError,
    decode_all,
    mode_of,
)
from widthwise.data.source import Source
from widthwise.errors import ConfigError, DataError

LARGEST_IN_MEMORY = 2 * 10**9
"""Bytes of raw images, of both splits, up to which a set is kept in memory."""

_PROBED = 64
"""Images looked at before all are decoded in the hope that they have one size."""


@dataclass(frozen=True, kw_only=True)
class TorchvisionItems:
    """The images of one split of a data set of torchvision."""

    dataset: Any
    title: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        try:
            image, label = self.dataset[number][:2]
        except (OSError, ValueError, SyntaxError) as error:
            raise _unreadable(self.where(number), error) from error
        return image, label

    def where(self, number: int) -> str:
        """Say which image this is, for messages."""
        return f"{number} of {self.title}"


@dataclass(frozen=True, kw_only=True)
class TimmItems:
    """The images of one split of a data set of timm.

    Read without timm's own decoding, which passes over damaged files and takes others instead.
    """

    dataset: Any
    title: str

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        try:
            file, label = self.dataset.reader[number][:2]
            with file, Image.open(file) as image:
                return image.convert(image.mode), label
        except (OSError, ValueError, SyntaxError) as error:
            raise _unreadable(self.where(number), error) from error

    def where(self, number: int) -> str:
        """Say which image this is, for messages."""
        return f"{number} of {self.title}"


def wrapped(full: str, train: Any, test: Any, source: Source) -> ImageClasses:
    """Make a data set of two splits of another library.

    Args:
        full: Name of the data set.
        train: The training split.
        test: The test split.
        source: Says whether images are cut to a size.

    Returns:
        Splits in memory if all images have one size and no other is asked for; cut on demand
        otherwise.

    Raises:
        ConfigError: If it is not made of images with one class each.
        DataError: If it is empty or damaged.
    """
    items = [_items(full, data, split) for data, split in ((train, "training"), (test, "test"))]
    classes = _classes(train, items[0])
    first, _ = items[0][0]
    channels = len(first.getbands())
    if first.mode not in ("RGB", "L"):
        raise ConfigError(
            f"The images of `{full}` have the Pillow mode `{first.mode}`, expected `RGB` or `L`.\n"
            "Hint: convert them to files in class folders and use `imagefolder`."
        )
    shape = (channels, first.height, first.width)
    if source.image_size is None and _may_fit(items, shape):
        try:
            splits = [
                decode_all(split, name=full, classes=len(classes), shape=shape, threads=1)
                for split in items
            ]
            return _in_memory(splits, classes)
        except OtherSizeError:
            pass
    grey = channels == 1
    on_demand = [
        OnDemandSplit(
            items=split,
            classes=len(classes),
            mode=mode_of(channels),
            size=source.image_size or SIZE,
            whole=source.whole,
        )
        for split in items
    ]
    return ImageClasses(
        train=on_demand[0],
        test=on_demand[1],
        classes=classes,
        mean=(sum(IMAGENET_MEAN) / 3,) if grey else IMAGENET_MEAN,
        std=(sum(IMAGENET_STD) / 3,) if grey else IMAGENET_STD,
    )


def _in_memory(splits: list[Split], classes: tuple[str, ...]) -> ImageClasses:
    train, test = splits
    mean, std = channel_statistics(train.images)
    return ImageClasses(train=train, test=test, classes=classes, mean=mean, std=std)


def _items(full: str, dataset: Any, split: str) -> Items:
    kind = TimmItems if hasattr(dataset, "reader") else TorchvisionItems
    items = kind(dataset=dataset, title=f"the {split} split of `{full}`")
    if not len(items):
        raise DataError(f"The {split} split of `{full}` is empty.\nHint: get the data set again.")
    image, label = items[0]
    if not isinstance(image, Image.Image) or not isinstance(label, int | np.integer):
        raise ConfigError(
            f"The data set `{full}` gives `{type(image).__name__}` and `{type(label).__name__}`, "
            "expected an image and the number of its class.\n"
            "Hint: it is made for another task than classification."
        )
    return items


def _may_fit(items: list[Items], shape: tuple[int, int, int]) -> bool:
    channels, height, width = shape
    if sum(map(len, items)) * channels * height * width > LARGEST_IN_MEMORY:
        return False
    probes = [
        split[int(number)][0].size
        for split in items
        for number in np.linspace(0, len(split) - 1, min(_PROBED, len(split)))
    ]
    return set(probes) == {(width, height)}


def _classes(dataset: Any, items: Items) -> tuple[str, ...]:
    """Names of the classes; their numbers, if the set does not name them."""
    named = getattr(dataset, "classes", None)
    if named is None:
        named = getattr(getattr(dataset, "reader", None), "class_to_idx", None)
    if named:
        names = named if not isinstance(named, dict) else sorted(named, key=named.__getitem__)
        return tuple(", ".join(n) if isinstance(n, tuple) else str(n) for n in names)
    return tuple(str(number) for number in range(max(_labels(dataset, items)) + 1))


def _labels(dataset: Any, items: Items) -> list[int]:
    """Class numbers, without decoding the images where the set keeps them in a list."""
    for name in ("targets", "labels", "_labels"):
        kept = getattr(dataset, name, None)
        if kept is not None and len(kept) == len(items):
            return [int(label) for label in kept]
    for name in ("samples", "_samples"):
        kept = getattr(dataset, name, None)
        if kept is not None and len(kept) == len(items):
            return [int(pair[1]) for pair in kept]
    return [items[number][1] for number in range(len(items))]


def _unreadable(where: str, error: Exception) -> DataError:
    return DataError(
        f"Image {where} cannot be read: {str(error) or type(error).__name__}.\n"
        "Hint: its file is damaged; delete the data set and get it again."
    )
