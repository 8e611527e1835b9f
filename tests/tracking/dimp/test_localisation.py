"""What crafted maps of scores are taken for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from widthwise.tracking.dimp.localisation import Finding, LocalisationSettings, locate

TARGET = torch.tensor([3.0, 4.0])
"""Width and height in cells: 2.2 times as much is blanked around a peak."""


def scores(*peaks: tuple[int, int, float]) -> Tensor:
    """A map of 19 by 19 cells with peaks at columns and rows; the middle is at 9, 9."""
    found = torch.full((19, 19), -0.1)
    for column, row, height in peaks:
        found[row, column] = height
    return found


CASES = {
    "one peak": ([(11, 8, 0.9)], Finding.NORMAL, (2, -1)),
    "too low": ([(11, 8, 0.24)], Finding.NOT_FOUND, (2, -1)),
    "just high enough": ([(11, 8, 0.26)], Finding.NORMAL, (2, -1)),
    "another one that is low": ([(11, 8, 0.9), (3, 3, 0.4)], Finding.NORMAL, (2, -1)),
    "another one of half the height": ([(11, 8, 0.9), (3, 3, 0.5)], Finding.HARD_NEGATIVE, (2, -1)),
    "half of little": ([(11, 8, 0.4), (3, 3, 0.24)], Finding.NORMAL, (2, -1)),
    "a rival far away": ([(11, 8, 0.9), (0, 0, 0.8)], Finding.HARD_NEGATIVE, (2, -1)),
    "a rival that is near": ([(0, 0, 0.9), (11, 8, 0.8)], Finding.HARD_NEGATIVE, (2, -1)),
    "both near": ([(14, 8, 0.9), (5, 8, 0.8)], Finding.UNCERTAIN, (5, -1)),
    "both far": ([(0, 0, 0.9), (18, 18, 0.8)], Finding.UNCERTAIN, (-9, -9)),
    "the shoulder of a peak": ([(11, 8, 0.9), (14, 12, 0.85)], Finding.NORMAL, (2, -1)),
    "outside of the shoulder": ([(11, 8, 0.9), (15, 12, 0.85)], Finding.UNCERTAIN, (2, -1)),
}


@pytest.mark.parametrize("case", CASES)
def test_findings(case: str) -> None:
    """Height, rivals and distances decide, as in the published rules."""
    peaks, finding, moved = CASES[case]
    located = locate(scores(*peaks), TARGET, LocalisationSettings())
    assert located.finding is finding
    assert tuple(located.moved.tolist()) == moved


def test_score_is_that_of_the_place() -> None:
    """Where the nearer, lower peak is taken its score is reported."""
    located = locate(scores((0, 0, 0.9), (11, 8, 0.8)), TARGET, LocalisationSettings())
    assert located.score == pytest.approx(0.8)


def test_numbers_that_are_none_are_not_found() -> None:
    """A map of NaN moves no box."""
    broken = torch.full((19, 19), torch.nan)
    assert locate(broken, TARGET, LocalisationSettings()).finding is Finding.NOT_FOUND


def test_middle_lies_between_cells_of_an_even_map() -> None:
    """With an even number of cells the last place is between two of them."""
    located = locate(scores((11, 8, 0.9))[:18, :18], TARGET, LocalisationSettings())
    assert located.moved.tolist() == [2.5, -0.5]
