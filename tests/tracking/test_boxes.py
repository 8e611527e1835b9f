"""Boxes are compared, cut and checked as areas of the plane."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from widthwise.errors import ConfigError
from widthwise.tracking.boxes import centres, check_box, clipped, known, overlap

NAN = float("nan")


def drawn(x: int, y: int, width: int, height: int, side: int = 30) -> np.ndarray:
    """A mask of the pixels inside of a box, on a canvas that starts at -10."""
    mask = np.zeros((side, side), dtype=bool)
    mask[y + 10 : y + 10 + height, x + 10 : x + 10 + width] = True
    return mask


def test_overlap_counts_pixels() -> None:
    """Boxes of whole pixels overlap as their drawn masks do."""
    drawing = np.random.default_rng(0)
    for _ in range(200):
        one, two = (
            [int(n) for n in (*drawing.integers(-9, 8, 2), *drawing.integers(1, 9, 2))]
            for _ in range(2)
        )
        masks = drawn(*one), drawn(*two)
        expected = (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()
        found = overlap(torch.tensor([one]), torch.tensor([two]))
        assert found.item() == pytest.approx(expected, abs=1e-12)


def test_overlap_keeps_unknown_apart_from_empty() -> None:
    """An unknown box gives NaN; two empty ones overlap by nothing."""
    one = torch.tensor([[NAN] * 4, [1.0, 1, 0, 0], [1.0, 1, 2, 2]])
    two = torch.tensor([[1.0, 1, 2, 2], [1.0, 1, 0, 0], [1.0, 1, 2, 2]])
    found = overlap(one, two).tolist()
    assert math.isnan(found[0]) and found[1:] == [0, 1]


def test_centres_are_continuous() -> None:
    """The middle of one pixel is half a pixel from its edge."""
    assert centres(torch.tensor([[0, 0, 1, 1], [3, -2, 5, 4]])).tolist() == [[0.5, 0.5], [5.5, 0]]


def test_boxes_are_cut_at_every_edge() -> None:
    """What is left is inside of the frame; a box outside of it is empty and not known."""
    boxes = torch.tensor([[-5.0, -5, 100, 100], [8, 3, 5, 5], [40, 40, 2, 2], [NAN] * 4])
    cut = clipped(boxes, (6, 10))
    assert cut[:2].tolist() == [[0, 0, 10, 6], [8, 3, 2, 3]]
    assert known(cut).tolist() == [True, True, False, False]
    assert cut[3].isnan().all()


def test_a_box_partly_outside_is_fine() -> None:
    """Published sets have such boxes."""
    assert check_box((-5, 2, 8, 3), (20, 20)).tolist() == [-5, 2, 8, 3]


@pytest.mark.parametrize(
    ("box", "problem"),
    [
        ((1, 2, 3), "has 3 numbers"),
        ((1, NAN, 3, 4), "not finite"),
        ((1, 2, math.inf, 4), "not finite"),
        ((1, 2, 0, 4), "no area: width 0"),
        ((1, 2, 3, -4), "no area"),
        ((30, 2, 3, 4), "outside of the frame, which is 30 wide and 20 high"),
        ((-3, 2, 3, 4), "outside"),
        ((2, 20, 3, 4), "outside"),
    ],
)
def test_wrong_boxes_are_refused(box: tuple[float, ...], problem: str) -> None:
    """The message repeats the box and says what is wrong."""
    with pytest.raises(ConfigError, match=problem) as caught:
        check_box(box, (20, 30))
    assert "Hint:" in str(caught.value)
