"""Photographs to render from: a folder of files, or those that scikit-image brings along."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from widthwise.data.photographs import SUFFIXES, bundled_photographs, files_in, read_photographs
from widthwise.data.rendering.studio import Still
from widthwise.errors import DataError

_EVERY = 4
"""One photograph in so many is kept for testing."""


def bundled_stills(split: str) -> tuple[Still, ...]:
    """Load the colour photographs that come with scikit-image. Nothing is downloaded.

    Args:
        split: ``train`` or ``test``.

    Returns:
        Six to train on, or two others.
    """
    found = bundled_photographs(colour=True)
    chosen = found.train if split == "train" else found.test
    return tuple(Still(pixels=photograph.pixels) for photograph in chosen)


def stills_in(
    folder: Path,
    split: str,
    *,
    regions: Path | None = None,
    setting: str = "`task.photographs`",
) -> tuple[Still, ...]:
    """Load one part of the photographs in a folder.

    Args:
        folder: Image files. In the order of their names, every fourth is for testing; a folder
            with folders ``train`` and ``test`` is split by them.
        split: ``train`` or ``test``.
        regions: Has for each photograph, where one is, an image of the same name and size whose
            values number the things in it, such as human segmentations; without it, targets are
            rectangles and ellipses.
        setting: What the folder was named by, for messages.

    Returns:
        The photographs.

    Raises:
        DataError: If there are no photographs, or regions do not fit their photograph.
    """
    parts = folder / "train", folder / "test"
    if all(part.is_dir() for part in parts):
        files = files_in(folder / split, setting=setting)
    else:
        every = files_in(folder, setting=setting)
        wanted = {
            "train": lambda number: number % _EVERY,
            "test": lambda number: not number % _EVERY,
        }
        files = [path for number, path in enumerate(every) if wanted[split](number)]
    return tuple(
        Still(
            pixels=photograph.pixels,
            regions=None if regions is None else _regions(regions, path, photograph.pixels),
        )
        for path, photograph in zip(files, read_photographs(files, colour=True), strict=True)
    )


def _regions(folder: Path, path: Path, pixels: Tensor) -> Tensor | None:
    found = [folder / f"{path.stem}{suffix}" for suffix in SUFFIXES]
    regions = next((each for each in found if each.is_file()), None)
    if regions is None:
        return None
    try:
        with Image.open(regions) as image:
            numbers = torch.from_numpy(np.array(image).astype(np.int64))
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"`{regions}` cannot be read: {error}\nHint: get it again, or remove it."
        ) from error
    if numbers.shape != pixels.shape[1:]:
        raise DataError(
            f"`{regions}` has the shape {list(numbers.shape)}, and its photograph `{path}` is "
            f"{list(pixels.shape[1:])}.\n"
            "Hint: regions are grey images of the same size, with a number per thing."
        )
    return numbers
