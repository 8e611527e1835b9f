"""What VOT writes in place of boxes."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from widthwise.data.clip_layouts import Conventions, Layout, Polygons, open_clips
from widthwise.data.clip_layouts.vot import as_box
from widthwise.errors import DataError

DIAMOND = torch.tensor([[4, 0], [8, 4], [4, 8], [0, 4]]).double()


def sequence(folder: Path, *lines: str) -> Path:
    """A sequence of black frames with these lines."""
    (folder / "color").mkdir(parents=True)
    for number in range(1, len(lines) + 1):
        Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(folder / "color" / f"{number:08}.png")
    (folder / "groundtruth.txt").write_text("\n".join(lines))
    return folder


def test_box_around_a_polygon() -> None:
    """The smallest that holds all corners, in whichever order they come."""
    assert as_box(DIAMOND, Polygons.BOUNDING) == [0, 0, 8, 8]
    assert as_box(DIAMOND.flip(0) + 3, Polygons.BOUNDING) == [3, 3, 8, 8]


def test_box_with_the_area_of_a_polygon() -> None:
    """Half the area of the box around it: sides shrink by the root of 2; one pixel is added."""
    x, y, width, height = as_box(DIAMOND, Polygons.SAME_AREA)
    assert width == height == pytest.approx(8 / math.sqrt(2) + 1)
    assert (x + width / 2, y + height / 2) == pytest.approx((4, 4))


@pytest.mark.parametrize("turn", [0.0, 0.3, 1.0, 2.5])
def test_area_is_kept_however_it_is_turned(turn: float) -> None:
    """A turned rectangle gives a box of its area, but for the pixel that is added."""
    turned = torch.tensor([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    rectangle = torch.tensor([[-6, -2], [6, -2], [6, 2], [-6, 2]]).double() @ turned.double()
    _, _, width, height = as_box(rectangle, Polygons.SAME_AREA)
    assert (width - 1) * (height - 1) == pytest.approx(48)


def test_polygons_are_converted_as_asked(tmp_path: Path) -> None:
    """The choice reaches the boxes of a clip."""
    folder = sequence(tmp_path / "bag", "4,0,8,4,4,8,0,4", "4,0,8,4,4,8,0,4")
    (bounding,) = open_clips(folder)
    (area,) = open_clips(folder, conventions=Conventions(polygons=Polygons.SAME_AREA))
    assert bounding.boxes[1].tolist() == [0, 0, 8, 8]
    assert area.boxes[1].tolist() == pytest.approx(as_box(DIAMOND, Polygons.SAME_AREA))


@pytest.mark.parametrize("line", ["0", "2", "5,6", "nan,nan,nan,nan", "1,1,5,1,3,1", "1,1,0,4"])
def test_what_is_no_area_is_not_known(line: str, tmp_path: Path) -> None:
    """Codes, points, NaN, polygons on a line and rectangles without area."""
    (clip,) = open_clips(sequence(tmp_path / "a", "1,1,5,5", line), Layout.VOT)
    assert clip.boxes.isnan().all(dim=1).tolist() == [False, True]


def test_masks_are_refused(tmp_path: Path) -> None:
    """The error names the file and the line, and says where boxes come from."""
    folder = sequence(tmp_path / "a", "1,1,5,5", "m0,0,32,24,5,6,7")
    with pytest.raises(DataError, match=r"groundtruth.txt` has a mask in line 2") as caught:
        open_clips(folder)
    assert "toolkit" in str(caught.value)


@pytest.mark.parametrize("line", ["1,2,3", "1,2,3,4,5", "1,2,3,4,5,6,7"])
def test_other_counts_of_numbers_are_refused(line: str, tmp_path: Path) -> None:
    """Polygons come in pairs, and have three corners or more."""
    with pytest.raises(DataError, match=rf"line 2 has {line.count(',') + 1} numbers"):
        open_clips(sequence(tmp_path / "a", "1,1,5,5", line))
