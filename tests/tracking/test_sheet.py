"""Contact sheets show a whole video in a few frames."""

from __future__ import annotations

import numpy as np
import pytest

from widthwise.tracking.sheet import COLUMNS, ROWS, SIDE, Sheet


def sheet_of(count: int, size: tuple[int, int] = (6, 8)) -> Sheet:
    """A sheet of a video with so many frames."""
    sheet = Sheet()
    for number in range(count):
        sheet.add(number + 1, np.full((*size, 3), number % 256, np.uint8))
    return sheet


@pytest.mark.parametrize("count", [1, 2, 11, 12, 13, 25, 192, 193, 194, 400, 1000, 3001])
def test_frames_are_spread_evenly(count: int) -> None:
    """The first and the last are there, and the gaps between are nearly the same."""
    numbers = sheet_of(count).numbers
    assert len(numbers) == min(count, COLUMNS * ROWS)
    assert numbers[0] == 1 and numbers[-1] == count
    gaps = np.diff(numbers)
    if len(gaps):
        assert gaps.min() >= 1 and np.ptp(gaps) <= max(2, 0.2 * gaps.mean())


def test_memory_is_bounded() -> None:
    """Of thousands of frames, some hundred are kept."""
    assert len(sheet_of(5000)._kept) <= 16 * COLUMNS * ROWS


def test_every_frame_has_its_place() -> None:
    """Large frames are made smaller; each is where its number says."""
    sheet = sheet_of(5, (2 * SIDE, SIDE))
    image = sheet.image()
    pixels = np.asarray(image)
    assert image.width > COLUMNS * SIDE // 2 and image.height > 2 * SIDE
    middle = pixels[SIDE // 2, SIDE // 4 :: SIDE // 2 + 6]
    assert [tuple(pixel) for pixel in middle[:4]] == [(n, n, n) for n in range(4)]
