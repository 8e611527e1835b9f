"""Contact sheets: some frames of a video side by side, to see at a glance what a tracker did."""

from __future__ import annotations

from typing import Any

from PIL import Image, ImageDraw, ImageFont

COLUMNS, ROWS = 4, 3
"""Frames side by side, and one below the other."""
SIDE = 320
"""Longer side of a frame on the sheet at most, in pixels."""
_GAP = 6
_FONT = 14
_PAPER, _INK = (255, 255, 255), (0, 0, 0)


class Sheet:
    """Chooses frames that are spread evenly over a video, without knowing how long it will be.

    Example:
        >>> import numpy as np
        >>> sheet = Sheet()
        >>> for number in range(1, 101):
        ...     sheet.add(number, np.zeros((24, 32, 3), np.uint8))
        >>> sheet.numbers
        [1, 10, 19, 28, 37, 46, 55, 64, 73, 82, 91, 100]
    """

    def __init__(self) -> None:
        self._places = COLUMNS * ROWS
        self._every = 1
        self._seen = 0
        self._kept: list[tuple[int, Image.Image]] = []
        self._last: tuple[int, Image.Image] | None = None

    def add(self, number: int, picture: Any) -> None:
        """Take in the next frame of the video.

        Args:
            number: What is written beside it.
            picture: uint8 array, shape ``[h, w, 3]``.
        """
        image = Image.fromarray(picture)
        image.thumbnail((SIDE, SIDE))
        self._last = number, image
        if self._seen % self._every == 0:
            self._kept.append(self._last)
        self._seen += 1
        # Many more than there are places, so that they stay even; few enough for any memory.
        if len(self._kept) > 16 * self._places:
            self._kept = self._kept[::2]
            self._every *= 2

    @property
    def numbers(self) -> list[int]:
        """Numbers of the frames on the sheet: the first, the last, and some between."""
        return [number for number, _ in self._chosen()]

    def image(self) -> Image.Image:
        """Put the frames together.

        Returns:
            The sheet, with the number of each frame above it.
        """
        chosen = self._chosen()
        width, height = chosen[0][1].size
        font = ImageFont.load_default(_FONT)
        cell = width + _GAP, height + _FONT + 2 * _GAP
        columns = min(len(chosen), COLUMNS)
        rows = -(-len(chosen) // COLUMNS)
        sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), _PAPER)
        pen = ImageDraw.Draw(sheet)
        for place, (number, image) in enumerate(chosen):
            row, column = divmod(place, COLUMNS)
            left, top = column * cell[0] + _GAP, row * cell[1] + _GAP
            pen.text((left, top), f"frame {number}", fill=_INK, font=font)
            sheet.paste(image, (left, top + _FONT + _GAP))
        return sheet

    def _chosen(self) -> list[tuple[int, Image.Image]]:
        assert self._last is not None, "a sheet has at least one frame"
        last = self._last
        every = self._kept if self._kept[-1] is last else [*self._kept, last]
        count = min(len(every), self._places)
        steps = (len(every) - 1) / max(count - 1, 1)
        return [every[round(place * steps)] for place in range(count)]
