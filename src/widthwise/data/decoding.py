"""Images in files: decoded once into memory, or over and over on demand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image
from torch import Tensor

from widthwise.data.arrays import Batch, Split
from widthwise.data.batches import derived_seed
from widthwise.errors import DataError

SIZE = 224
"""Height and width of what is cut out of images, if not given: that of most published networks."""
RESIZE = 256 / 224
"""Shorter side of an image, as a multiple of the square that is cut out of it to evaluate."""
_ANNOUNCED = 5_000
"""Images from which on decoding all of them takes seconds, so that progress is shown."""

IMAGENET_MEAN = (0.485 * 255, 0.456 * 255, 0.406 * 255)
IMAGENET_STD = (0.229 * 255, 0.224 * 255, 0.225 * 255)


class OtherSizeError(DataError):
    """Images that ought to have one size do not."""


class Items(Protocol):
    """Images with class numbers that are decoded one by one."""

    def __len__(self) -> int:
        """Count the images."""
        ...

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        """Decode one image; give it and its class number."""
        ...

    def where(self, number: int) -> str:
        """Say which image this is, for messages."""
        ...


@dataclass(frozen=True, kw_only=True)
class FileItems:
    """Image files, and a class number for each."""

    files: tuple[tuple[Path, int], ...]
    mode: str | None = None
    """Pillow's mode that all images are converted to; None to take them as they are."""

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[Image.Image, int]:
        path, label = self.files[number]
        try:
            with Image.open(path) as image:
                return image.convert(self.mode or image.mode), label
        # What Pillow's readers raise on damaged files.
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"The image `{path}` cannot be read: {str(error) or type(error).__name__}.\n"
                "Hint: the file is damaged or not an image; get it again, or remove it."
            ) from error

    def where(self, number: int) -> str:
        """Say which image this is, for messages.

        Args:
            number: From 0.

        Returns:
            The path of its file.
        """
        return f"`{self.files[number][0]}`"


@dataclass(frozen=True, kw_only=True)
class OnDemandSplit:
    """Images that are decoded when they are needed, and a square cut out of each."""

    items: Items
    classes: int
    mode: str
    """Pillow's mode of every image: `RGB` or `L`."""
    size: int
    """Height and width of the squares."""
    whole: bool = False
    """Whether squares are as large as they can be: no parts in training, no margin left off."""

    def __len__(self) -> int:
        return len(self.items)

    def first(self, count: int) -> Tensor:
        """Give the middle of the first images.

        Args:
            count: How many; fewer come if there are not as many.

        Returns:
            Raw values, uint8. Shape ``[n, c, size, size]``.
        """
        images, _ = self.batch(range(min(count, len(self))), seed=None)
        return images

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Batch:
        """Decode some of the images.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides, with the number of an image, the part of any size and shape that is cut
                out of it and resized; None for a square from the middle.

        Returns:
            The images, raw, and their labels.

        Raises:
            DataError: If an image cannot be read or has other channels, or a label is outside the
                classes.
        """
        decoded = [self._decode(number, seed) for number in numbers]
        images, labels = zip(*decoded, strict=True)
        return torch.stack(images), torch.tensor(labels)

    def _decode(self, number: int, seed: int | None) -> tuple[Tensor, int]:
        image, label = self.items[number]
        _check(image, label, self.items.where(number), mode=self.mode, classes=self.classes)
        if seed is None or self.whole:
            return self._middle(image), label
        return self._part(image, seed, number), label

    def _middle(self, image: Image.Image) -> Tensor:
        from torchvision.transforms.v2 import functional

        if image.size == (self.size, self.size):
            return functional.pil_to_tensor(image)
        resized = functional.resize(image, [round(self.size * (1 if self.whole else RESIZE))])
        return functional.pil_to_tensor(functional.center_crop(resized, [self.size]))

    def _part(self, image: Image.Image, seed: int, number: int) -> Tensor:
        from torchvision.transforms import v2

        # The transform draws from PyTorch's generator, which is not ours to change.
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(derived_seed(seed, number))
            part = v2.RandomResizedCrop(self.size)(image)
        return v2.functional.pil_to_tensor(part)


def decode_all(
    items: Items, *, name: str, classes: int, shape: tuple[int, int, int], threads: int
) -> Split:
    """Decode all images into memory.

    Args:
        items: The images.
        name: Name of the data set, for messages.
        classes: Number of classes.
        shape: ``(c, h, w)`` of every image.
        threads: Threads that decode.

    Returns:
        The images and labels.

    Raises:
        OtherSizeError: If an image has another height or width.
        DataError: If an image cannot be read or has other channels, or a label is outside the
            classes.
    """
    from torchvision.transforms.v2.functional import pil_to_tensor

    images = torch.empty((len(items), *shape), dtype=torch.uint8)
    labels = torch.empty(len(items), dtype=torch.int64)
    mode = mode_of(shape[0])

    def decode(number: int) -> None:
        image, label = items[number]
        where = items.where(number)
        _check(image, label, where, mode=mode, classes=classes)
        if (image.height, image.width) != shape[1:]:
            raise OtherSizeError(
                f"The image {where} has {image.height}x{image.width} pixels, expected "
                f"{shape[1]}x{shape[2]}.\n"
                "Why: the images of this set form one array, so they all have one size.\n"
                "Hint: get the data set again; images of any size can be kept in class folders, "
                "which `imagefolder` reads."
            )
        images[number] = pil_to_tensor(image)
        labels[number] = label

    with ThreadPoolExecutor(threads) as pool:
        for _ in _shown(pool.map(decode, range(len(items))), len(items), name):
            pass
    return Split(images=images, labels=labels)


def mode_of(channels: int) -> str:
    """Give Pillow's mode of images with so many channels, 1 or 3."""
    return {1: "L", 3: "RGB"}[channels]


def _check(image: Image.Image, label: int, where: str, *, mode: str, classes: int) -> None:
    if image.mode != mode:
        kinds = {"L": "grey", "1": "black and white", "P": "palette", "RGBA": "RGB with alpha"}
        found, expected = kinds.get(image.mode, image.mode), kinds.get(mode, mode)
        raise DataError(
            f"The image {where} is {found} (Pillow mode `{image.mode}`), expected {expected} "
            f"(`{mode}`).\n"
            "Why: every image of a set has the same channels, and which conversion is right is "
            "not for this program to guess.\n"
            "Hint: convert the file (with Pillow: "
            f'`Image.open(path).convert("{mode}").save(path)`), or remove it.'
        )
    if not 0 <= label < classes:
        raise DataError(
            f"The image {where} has label {label}, expected 0 to {classes - 1}.\n"
            "Hint: correct the label or the list of classes."
        )


def _shown(steps: Iterable[Any], total: int, name: str) -> Iterable[Any]:
    if total < _ANNOUNCED:
        return steps
    from rich.console import Console
    from rich.progress import track

    screen = Console(stderr=True)
    return track(steps, f"decoding {name}", total=total, console=screen, transient=True)
