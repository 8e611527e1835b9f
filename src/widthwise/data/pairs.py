"""Clean photographs beside what a network is given instead: the same, or a smaller version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from widthwise.data.bicubic import smaller
from widthwise.data.photographs import (
    Photograph,
    bundled_photographs,
    files_in,
    read_photographs,
    sizes_of,
)
from widthwise.errors import DataError

LAYOUTS = (
    ("HR", "LR_bicubic/X{scale}"),
    ("HR", "LR"),
    ("x{scale}/HR", "x{scale}/LR"),
    ("DIV2K_train_HR", "DIV2K_train_LR_bicubic/X{scale}"),
    ("DIV2K_valid_HR", "DIV2K_valid_LR_bicubic/X{scale}"),
    ("Flickr2K_HR", "Flickr2K_LR_bicubic/X{scale}"),
    ("GT_sub", "GT_sub_bicLRx{scale}"),
)
"""Folders that published sets have for large and for small images."""


LARGEST_IN_MEMORY = 4 * 10**9
"""Bytes of decoded clean images up to which a folder is kept in memory."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a network is given, and what it should come near to."""

    name: str
    given: Tensor
    """uint8, shape ``[c, h, w]``."""
    clean: Tensor
    """uint8, shape ``[c, h * scale, w * scale]``; the same tensor where nothing is scaled."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the clean image."""
        _, height, width = self.clean.shape
        return height, width

    def read(self) -> Pair:
        """Return itself: it is in memory."""
        return self


@dataclass(frozen=True, kw_only=True)
class StoredPair:
    """A pair that is read from its files whenever it is needed."""

    high: Path
    low: Path | None
    """The small image; None if it is made of the large one."""
    size: tuple[int, int]
    """Height and width of the clean image."""
    colour: bool
    scale: int

    @property
    def name(self) -> str:
        """Path of the clean image."""
        return str(self.high)

    def read(self) -> Pair:
        """Read the pair.

        Returns:
            It, in memory.

        Raises:
            DataError: If a file cannot be read, or the two do not belong together.
        """
        (high,) = read_photographs([self.high], colour=self.colour)
        if self.low is None:
            return _made(high, self.scale)
        (low,) = read_photographs([self.low], colour=self.colour)
        return _paired(low, high, self.scale)


SomePair = Pair | StoredPair


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs to train on, and others to test on."""

    train: tuple[SomePair, ...]
    test: tuple[SomePair, ...]


def bundled_pairs(*, colour: bool, scale: int) -> Pairs:
    """Make pairs of the photographs that come with scikit-image. Nothing is downloaded.

    Args:
        colour: As of `widthwise.data.photographs.bundled_photographs`.
        scale: How many times smaller what is given is, in both directions.

    Returns:
        Pairs of both splits.
    """
    found = bundled_photographs(colour=colour)
    train, test = (
        tuple(_made(photograph, scale) for photograph in split)
        for split in (found.train, found.test)
    )
    return Pairs(train=train, test=test)


def pairs_in(
    place: Path, *, setting: str, colour: bool, scale: int
) -> tuple[Pair | StoredPair, ...]:
    """Load pairs out of a folder.

    Small images are read where the folder has one of `LAYOUTS`, or is the folder of the large ones
    of such a layout; otherwise all images below it are clean ones, and small ones are made with
    `widthwise.data.bicubic.smaller`.

    Args:
        place: The folder.
        setting: What it was named by, for messages.
        colour: Whether images get three channels, grey ones too; otherwise all of them one.
        scale: How many times smaller what is given is, in both directions.

    Returns:
        Pairs, sorted by path; in memory if that takes at most `LARGEST_IN_MEMORY`.

    Raises:
        DataError: If the folder is missing or empty, files cannot be read, or small and large
            images do not belong together.
    """
    large, small = _folders(place, scale)
    clean = files_in(large, setting=setting)
    given = None if small is None else files_in(small, setting=setting)
    if given is not None and len(clean) != len(given):
        raise DataError(
            f"`{large}` has {len(clean)} images and `{small}` has {len(given)}.\n"
            "Hint: both are paired in the order of their names, one to one."
        )
    sizes = sizes_of(clean)
    if sum(height * width for height, width in sizes) * (3 if colour else 1) > LARGEST_IN_MEMORY:
        low: Sequence[Path | None] = [None] * len(clean) if given is None else given
        return tuple(
            StoredPair(high=high, low=below, size=size, colour=colour, scale=scale)
            for high, below, size in zip(clean, low, sizes, strict=True)
        )
    large_ones = read_photographs(clean, colour=colour)
    if given is None:
        return tuple(_made(photograph, scale) for photograph in large_ones)
    small_ones = read_photographs(given, colour=colour)
    both = zip(small_ones, large_ones, strict=True)
    return tuple(_paired(low, high, scale) for low, high in both)


def _folders(place: Path, scale: int) -> tuple[Path, Path | None]:
    """Return the folder of clean images, and the one of small ones if they are there."""
    for layout in LAYOUTS if scale > 1 else ():
        large, small = (Path(part.format(scale=scale)) for part in layout)
        is_large = place.parts[-len(large.parts) :] == large.parts
        root = Path(*place.parts[: -len(large.parts)]) if is_large else place
        if (root / large).is_dir() and (root / small).is_dir():
            return root / large, root / small
    return place, None


def _made(photograph: Photograph, scale: int) -> Pair:
    clean = _whole_multiple(photograph.pixels, scale, photograph.name)
    given = clean if scale == 1 else smaller(clean, scale)
    return Pair(name=photograph.name, given=given, clean=clean)


def _paired(low: Photograph, high: Photograph, scale: int) -> Pair:
    height, width = (side * scale for side in low.pixels.shape[1:])
    _, most_high, most_wide = high.pixels.shape
    # Published large images are up to a few pixels larger where a side is no whole multiple.
    if not (0 <= most_high - height < scale and 0 <= most_wide - width < scale):
        raise DataError(
            f"`{low.name}` of {low.pixels.shape[1]}x{low.pixels.shape[2]} pixels is not "
            f"`{high.name}` of {most_high}x{most_wide} made {scale} times smaller.\n"
            "Hint: both are paired in the order of their names; set `task.scale` to theirs."
        )
    return Pair(name=high.name, given=low.pixels, clean=high.pixels[:, :height, :width])


def _whole_multiple(pixels: Tensor, scale: int, name: str) -> Tensor:
    height, width = (side - side % scale for side in pixels.shape[1:])
    if 0 in (height, width):
        raise DataError(
            f"`{name}` is too small to be made {scale} times smaller.\nHint: remove it."
        )
    return pixels[:, :height, :width]
