"""What a frame shows of a photograph and of what is pasted over it."""

from __future__ import annotations

import pytest
import torch

from widthwise.data.rendering.cutouts import Cutout
from widthwise.data.rendering.drawing import Pose, paste, view

SOLID = Cutout(pixels=torch.ones(3, 10, 16), alpha=torch.ones(10, 16))


def test_a_view_of_the_middle_is_the_photograph() -> None:
    """At zoom 1 and without roll nothing changes; a pixel to the right is a pixel to the right."""
    photograph = torch.rand(3, 12, 20, generator=torch.Generator().manual_seed(0))
    same = view(photograph, centre=(10, 6), zoom=1, roll=0, size=(12, 20))
    torch.testing.assert_close(same, photograph, atol=1e-5, rtol=0)
    moved = view(photograph, centre=(11, 6), zoom=1, roll=0, size=(12, 20))
    torch.testing.assert_close(moved[:, :, :-1], photograph[:, :, 1:], atol=1e-5, rtol=0)


def test_the_box_is_where_pixels_have_changed() -> None:
    """What is pasted upright covers as many pixels as it has, around its middle."""
    frame = torch.zeros(3, 40, 60)
    pasted = paste(frame, SOLID, Pose(x=30, y=20, across=1, down=1))
    box = pasted.box()
    assert box is not None
    assert box.tolist() == [22, 15, 16, 10]
    assert pasted.area == 160
    assert torch.equal(frame[0] > 0.5, pasted.covers(40, 60))
    assert float(frame[0].sum()) == pytest.approx(160, rel=1e-4)


@pytest.mark.parametrize("roll", [0.0, 0.2, 1.3])
def test_a_larger_and_turned_thing_has_the_same_middle(roll: float) -> None:
    """Whatever the pose, the box lies around the middle that was asked for."""
    pasted = paste(torch.zeros(3, 80, 90), SOLID, Pose(x=45, y=40.5, across=2, down=1.5, roll=roll))
    box = pasted.box()
    assert box is not None
    middle = box[:2] + box[2:] / 2
    assert (middle - torch.tensor([45.0, 40.5])).abs().max() <= 0.5
    assert pasted.area == pytest.approx(2 * 1.5 * 160, rel=0.05)


@pytest.mark.parametrize(
    ("x", "y"), [(-90, 20), (30, -70), (200, 20), (30, 190), (-6, 44), (62, 3)]
)
def test_what_lies_outside_of_the_frame_covers_nothing_of_it(x: float, y: float) -> None:
    """A part inside is drawn, the rest is not, and the box tells of all of it."""
    frame = torch.zeros(3, 40, 60)
    pasted = paste(frame, SOLID, Pose(x=x, y=y, across=1, down=1))
    assert pasted.area == 160
    assert torch.equal(frame[0] > 0.5, pasted.covers(40, 60))
    expected = max(0, min(60, x + 8) - max(0, x - 8)) * max(0, min(40, y + 5) - max(0, y - 5))
    assert int(pasted.covers(40, 60).sum()) == expected


def test_a_shutter_smears_along_the_step() -> None:
    """What moves fast is wider and fainter, and weighs the same."""
    pose = Pose(x=30, y=20, across=1, down=1, step=(12, 0))
    frame, still = torch.zeros(3, 40, 60), torch.zeros(3, 40, 60)
    paste(frame, SOLID, pose)
    paste(still, SOLID, Pose(x=30, y=20, across=1, down=1))
    assert int((frame[0, 20] > 0.01).sum()) > int((still[0, 20] > 0.01).sum())
    assert float(frame.sum()) == pytest.approx(float(still.sum()), rel=1e-3)


def test_a_bend_moves_the_inside() -> None:
    """A control point that is moved moves what lies under it, and nothing far from it."""
    bend = torch.zeros(2, 3, 3)
    bend[0, 1, 1] = 0.1
    striped = Cutout(
        pixels=torch.arange(16).float().div(16).expand(3, 10, 16), alpha=torch.ones(10, 16)
    )
    plain, bent = torch.zeros(3, 40, 60), torch.zeros(3, 40, 60)
    pose = Pose(x=30, y=20, across=1, down=1)
    paste(plain, striped, pose)
    paste(bent, striped, pose, bend=bend)
    assert float(bent[0, 20, 30] - plain[0, 20, 30]) == pytest.approx(0.1, abs=0.02)
