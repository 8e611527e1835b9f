"""What a layout is, and what its files leave open."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from widthwise.data.clips import Clip


class Polygons(StrEnum):
    """How a polygon becomes an upright box."""

    BOUNDING = "bounding"
    """The smallest box around it."""
    SAME_AREA = "same_area"
    """That box shrunk to the area of the polygon, around the mean of its corners, plus one pixel
    in width and height: as the toolkits of GOT-10k and pytracking do it."""


@dataclass(frozen=True, kw_only=True)
class Conventions:
    """What the files of a set do not say."""

    polygons: Polygons = Polygons.BOUNDING
    """How polygons become boxes."""
    first_pixel: int | None = None
    """Number of the first pixel in files of boxes, 0 or 1; None for that of the layout."""

    def pixel(self, usual: int) -> int:
        """Return the number of the first pixel, where a layout has this one usually."""
        return usual if self.first_pixel is None else self.first_pixel


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads one layout."""

    looks_for: str
    """What makes a folder one of this layout, for messages."""
    matches: Callable[[Path], bool]
    """Whether a folder is one, by the names in it."""
    read: Callable[[Path, Conventions], list[Clip]]
    """Read the clips of such a folder: one, or as many as are in it."""
