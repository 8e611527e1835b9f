"""A few images of somebody's folder, as inputs for a trained network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from widthwise.data.arrays import Images
from widthwise.data.cifar import load_cifar10
from widthwise.data.decoding import IMAGENET_MEAN, IMAGENET_STD, FileItems, OnDemandSplit, mode_of
from widthwise.data.photographs import SUFFIXES
from widthwise.data.source import Source
from widthwise.errors import ConfigError, DataError

_LOOKED_AT = 64
"""Images whose size is looked at."""
_CIFAR = ("cifar-10-batches-bin", "cifar-10-batches-py")


@dataclass(frozen=True, kw_only=True)
class Samples:
    """Images, and what they show where folders say so.

    Attributes:
        images: Raw values, uint8. Shape ``[n, c, h, w]``.
        labels: Class numbers, int64, shape ``[n]``; None where nothing is known of them.
        classes: Names of the classes.
        mean: Of the values, 0 to 255, per channel, as the network was trained with.
        std: Their deviations.
    """

    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        """Count the images."""
        return len(self.images)

    def inputs(self, numbers: slice) -> Tensor:
        """Scale some of the images as the network was trained with; float32."""
        mean, std = (torch.tensor(each).reshape(1, -1, 1, 1) for each in (self.mean, self.std))
        return (self.images[numbers].float() - mean) / std


def samples_in(
    folder: Path,
    *,
    shape: Sequence[int],
    count: int,
    judged: int = 0,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    published: tuple[Sequence[float], Sequence[float]] | None = None,
) -> Samples:
    """Read images, spread evenly over a folder.

    Args:
        folder: Images at any depth, or CIFAR-10. Where there is nothing but a folder per class,
            classes are numbered in the order of their names.
        shape: Of one input, ``(1, c, h, w)`` with h equal to w.
        count: How many images, at most.
        judged: How many of them, the last, are to judge by: of CIFAR-10, they are test images.
        mean: Of values from 0 to 1, per channel; by default of CIFAR-10 for CIFAR-10, else what
            was published, or else of ImageNet, and 0.5 for grey images.
        std: Their deviations; 0.25 for grey images.
        published: Mean and deviations that the network was published with, where they are known.

    Returns:
        The images, cut to the middle square and resized, those of one class not in a row.

    Raises:
        DataError: If there are no images, or one cannot be read.
        ConfigError: If inputs are no square images, or there is not one mean per channel.
    """
    if len(shape) != 4 or shape[2] != shape[3] or shape[1] not in (1, 3):
        raise ConfigError(
            f"Inputs of shape {list(shape)} are not made of images here: expected 1,C,H,H with one "
            "or three channels.\nHint: call `widthwise.compress` with batches of your own."
        )
    data: Images
    if any((folder / name).is_dir() for name in _CIFAR):
        cifar = load_cifar10(Source(folder=folder))
        data, classes = cifar.train, cifar.classes
        unseen: Images = cifar.test
        known = cifar.mean, cifar.std
        labelled = True
    else:
        files, classes = _files(folder)
        labelled = bool(classes)
        data = OnDemandSplit(
            items=FileItems(files=files, mode=mode_of(shape[1])),
            classes=max(len(classes), 1),
            mode=mode_of(shape[1]),
            size=shape[2],
        )
        unseen = data
        known = (IMAGENET_MEAN, IMAGENET_STD) if shape[1] == 3 else ((127.5,), (63.75,))
        if published is not None:
            known = _in_bytes(published[0]), _in_bytes(published[1])
    count = min(count, len(data))
    chosen = _spread(len(data), count)
    images, labels = data.batch(chosen, seed=None)
    if unseen is not data and judged:
        own, known_labels = unseen.batch(_spread(len(unseen), judged), seed=None)
        images = torch.cat((images[: count - judged], own))
        labels = torch.cat((labels[: count - judged], known_labels))
    scaled = [
        default if given is None else _in_bytes(given)
        for given, default in zip((mean, std), known, strict=True)
    ]
    if list(images.shape[1:]) != list(shape[1:]) or any(len(e) != shape[1] for e in scaled):
        raise ConfigError(
            f"Images of shape {list(images.shape[1:])} with {len(scaled[0])} means and "
            f"{len(scaled[1])} deviations do not fit inputs of shape {list(shape)}.\n"
            "Hint: set --input, --mean and --std as the network was trained."
        )
    return Samples(
        images=images,
        labels=labels if labelled else None,
        classes=classes,
        mean=scaled[0],
        std=scaled[1],
    )


def _in_bytes(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(255 * each for each in values)


def _spread(of: int, count: int) -> list[int]:
    """Choose numbers, evenly; whatever is in a row is parted, the same way every time."""
    chosen = torch.linspace(0, of - 1, count).round().long()
    order = torch.randperm(count, generator=torch.Generator().manual_seed(0))
    return [int(number) for number in chosen[order]]


def size_in(folder: Path) -> int | None:
    """Tell the size of the images in a folder, if they are squares of one size.

    Args:
        folder: As for `samples_in`.

    Returns:
        Height and width; None if they differ.

    Raises:
        DataError: If there are no images, or one cannot be read.
    """
    if any((folder / name).is_dir() for name in _CIFAR):
        return 32
    files, _ = _files(folder)
    items = FileItems(files=files, mode="RGB")
    sizes = {items[number][0].size for number in _spread(len(files), min(_LOOKED_AT, len(files)))}
    width, height = next(iter(sizes))
    return width if len(sizes) == 1 and width == height else None


def _files(folder: Path) -> tuple[tuple[tuple[Path, int], ...], tuple[str, ...]]:
    """Find image files, with class numbers where every one is in a folder of its class."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        state = "has no images" if folder.is_dir() else "is not a folder"
        raise DataError(
            f"`{folder.absolute()}` {state}.\n"
            f"Hint: give a folder of images like those of training ({', '.join(SUFFIXES)}), or one "
            "that holds CIFAR-10."
        )
    tops = [path.relative_to(folder).parts for path in paths]
    classes = tuple(sorted({parts[0] for parts in tops}))
    if len(classes) < 2 or any(len(parts) < 2 for parts in tops):
        return tuple((path, 0) for path in paths), ()
    numbers = {name: number for number, name in enumerate(classes)}
    return tuple((p, numbers[parts[0]]) for p, parts in zip(paths, tops, strict=True)), classes
