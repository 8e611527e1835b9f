"""Views of a frame are where they claim to be."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from widthwise.tracking.dimp.views import View, looked_at, shifted_box


def noise(height: int = 40, width: int = 50) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (3, height, width), generator=draw, dtype=torch.uint8)


def seen(frame: Tensor, view: View, *, at: tuple[float, float], side: float, size: int) -> Tensor:
    centre = torch.tensor(at).double()
    return looked_at(frame, centre, side, size=size, views=[view])[0]


def test_plain_view_is_the_pixels() -> None:
    """A crop as large as what it shows is a piece of the frame."""
    frame = noise()
    crop = seen(frame, View(), at=(20, 16), side=16, size=16)
    torch.testing.assert_close(crop, frame[:, 8:24, 12:28] / 255, atol=1e-5, rtol=0)


@pytest.mark.parametrize("side", [16, 24, 51.0])
def test_places_are_right_at_any_scale(side: float) -> None:
    """On a ramp, each pixel of a crop has the value of the place it stands for."""
    ramp = torch.arange(200, dtype=torch.uint8).expand(3, 120, 200)
    crop = seen(ramp, View(), at=(100.3, 60), side=side, size=16)
    # The value of pixel p, whose middle is at p + 0.5, is p.
    expected = 100.3 + ((torch.arange(16) + 0.5) / 16 - 0.5) * side - 0.5
    torch.testing.assert_close(crop[0, 5] * 255, expected, atol=1e-3, rtol=0)


def test_border_is_repeated() -> None:
    """Beyond the frame a crop shows the frame's border, even if it shows nothing else."""
    frame = noise()
    crop = seen(frame, View(), at=(0, 20), side=16, size=16)
    edge = (frame[:, 12:28, :1] / 255).expand(3, 16, 8)
    torch.testing.assert_close(crop[:, :, :8], edge, atol=1e-5, rtol=0)
    corner = seen(frame, View(), at=(500, 300), side=64, size=16)
    expected = (frame[:, -1:, -1:] / 255).expand(3, 16, 16)
    torch.testing.assert_close(corner, expected, atol=1e-5, rtol=0)


def test_views_of_a_piece() -> None:
    """Mirrored, turned and shifted views are flips, quarter turns and other centres."""
    frame = noise()
    plain = seen(frame, View(), at=(25, 20), side=16, size=16)
    mirrored = seen(frame, View(mirrored=True), at=(25, 20), side=16, size=16)
    torch.testing.assert_close(mirrored, plain.flip(2), atol=1e-5, rtol=0)
    turned = seen(frame, View(degrees=90), at=(25, 20), side=16, size=16)
    torch.testing.assert_close(turned, plain.rot90(-1, (1, 2)), atol=1e-4, rtol=0)
    shifted = seen(frame, View(shift=(0.25, -0.125)), at=(25, 20), side=16, size=16)
    other = seen(frame, View(), at=(21, 22), side=16, size=16)
    torch.testing.assert_close(shifted, other, atol=1e-5, rtol=0)


def test_blur_is_along_its_direction() -> None:
    """Blur along x evens out columns of stripes, blur along y leaves them as they are."""
    stripes = (torch.arange(60) % 2 * 255).to(torch.uint8).expand(3, 60, 60)
    along_x = seen(stripes, View(blur=(2.0, 0.0)), at=(30, 30), side=32, size=32)
    along_y = seen(stripes, View(blur=(0.0, 2.0)), at=(30, 30), side=32, size=32)
    assert along_x[:, :, 6:-6].std() < 0.01
    torch.testing.assert_close(along_x.mean(), torch.tensor(0.5), atol=0.02, rtol=0)
    torch.testing.assert_close(along_y, stripes[:, 14:46, 14:46] / 255, atol=1e-5, rtol=0)


def test_shifted_box_is_where_the_target_is_seen() -> None:
    """A bright rectangle fills the box of its view, and nothing else is bright."""
    frame = torch.zeros(3, 120, 120, dtype=torch.uint8)
    frame[:, 52:68, 50:70] = 255
    view = View(shift=(0.25, -0.25), mirrored=True)
    crop = seen(frame, view, at=(60, 60), side=80, size=80)
    x, y, width, height = shifted_box(torch.tensor([20.0, 16.0]), view, side=80).int().tolist()
    expected = torch.zeros(80, 80)
    expected[y : y + height, x : x + width] = 1
    torch.testing.assert_close(crop[0], expected, atol=1e-3, rtol=0)
