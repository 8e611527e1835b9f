"""Clean photographs for restoration: those that scikit-image brings along, or a folder of files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from widthwise.errors import DataError

Array = np.ndarray[Any, np.dtype[np.uint8]]
T = TypeVar("T")

# Names of functions in `skimage.data` whose files are part of its wheel. Others are downloaded.
TRAIN = (
    "brick",
    "clock",
    "coffee",
    "grass",
    "gravel",
    "hubble_deep_field",
    "immunohistochemistry",
    "moon",
    "motorcycle",
    "retina",
    "rocket",
)
"""Photographs to train on."""
TEST = ("astronaut", "camera", "chelsea", "coins")
"""Photographs held out: no part of them is trained on."""

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
"""Files in a folder that count as photographs."""


@dataclass(frozen=True, kw_only=True)
class Photograph:
    """One clean image."""

    name: str
    """Its name, or the path of its file."""
    pixels: Tensor
    """uint8, shape ``[c, h, w]``; one channel if grey, three if RGB."""


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Photographs to train on, and others to test on."""

    train: tuple[Photograph, ...]
    test: tuple[Photograph, ...]


def bundled_photographs(*, colour: bool) -> Photographs:
    """Load the photographs that come with scikit-image. Nothing is downloaded.

    Args:
        colour: Whether to take the RGB ones as they are, and leave out the grey ones; otherwise
            all of them, in grey.

    Returns:
        11 to train on and 4 to test on in grey, 6 and 2 in colour.

    Example:
        >>> photographs = bundled_photographs(colour=True)
        >>> [(photo.name, tuple(photo.pixels.shape)) for photo in photographs.test]
        [('astronaut', (3, 512, 512)), ('chelsea', (3, 300, 451))]
    """

    def load(names: Sequence[str]) -> tuple[Photograph, ...]:
        images = ((name, Image.fromarray(_bundled(name))) for name in names)
        wanted = [(name, image) for name, image in images if not colour or image.mode == "RGB"]
        return tuple(_photograph(name, image, colour=colour) for name, image in wanted)

    return Photographs(train=load(TRAIN), test=load(TEST))


def read_photographs(files: Sequence[Path], *, colour: bool) -> tuple[Photograph, ...]:
    """Load image files into memory.

    Args:
        files: Their paths.
        colour: Whether photographs get three channels, grey ones too; otherwise all of them one.

    Returns:
        The photographs, in the same order.

    Raises:
        DataError: If a file cannot be read or is neither grey nor RGB. All such files are named.
    """
    return tuple(_each(files, lambda path, image: _photograph(str(path), image, colour=colour)))


def sizes_of(files: Sequence[Path]) -> list[tuple[int, int]]:
    """Read how large images are, without decoding them.

    Args:
        files: Their paths.

    Returns:
        Height and width of each, in pixels.

    Raises:
        DataError: If a file is no image. All such files are named.
    """
    return _each(files, lambda path, image: (image.height, image.width))


def _each(files: Sequence[Path], read: Callable[[Path, Image.Image], T]) -> list[T]:
    """Apply a function to every opened file, and raise one error about all that failed."""
    done: list[T] = []
    problems: list[str] = []
    for path in files:
        try:
            with Image.open(path) as image:
                done.append(read(path, image))
        # What Pillow's readers raise on damaged files; and what is raised here.
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            said = getattr(error, "strerror", None) or str(error) or type(error).__name__
            problems.append(f"`{path}`: {said}")
    if problems:
        more = f"\n    and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise DataError(
            "These photographs cannot be used:\n    " + "\n    ".join(problems[:8]) + more + "\n"
            "Hint: get them again, convert them, or remove them."
        )
    return done


def files_in(place: Path, *, setting: str) -> list[Path]:
    """List all image files below a folder.

    Args:
        place: The folder.
        setting: What it was named by, for messages.

    Returns:
        Paths, sorted.

    Raises:
        DataError: If there is no such folder, or no image in it.
    """
    files = sorted(path for path in place.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        state = "has no photographs" if place.is_dir() else "is not a folder"
        raise DataError(
            f"`{place.absolute()}` {state}.\n"
            f"Hint: put image files there ({', '.join(SUFFIXES)}), or set {setting}."
        )
    return files


def _bundled(name: str) -> Array:
    from skimage import data

    if name == "motorcycle":
        left, _, _ = data.stereo_motorcycle()
        return left
    load: Callable[[], Array] = getattr(data, name)
    return load()


def _photograph(name: str, image: Image.Image, *, colour: bool) -> Photograph:
    if image.mode not in ("L", "RGB"):
        raise ValueError(f"expected grey or RGB, got the Pillow mode {image.mode}")
    values = np.asarray(image.convert("RGB" if colour else "L"))
    pixels = torch.from_numpy(values.copy())
    return Photograph(
        name=name, pixels=pixels.permute(2, 0, 1).contiguous() if colour else pixels[None]
    )
