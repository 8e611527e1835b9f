"""Whole photographs: padded, in tiles, and in all orientations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from widthwise.models.srresnet import SRResNet
from widthwise.tasks.restoration.whole import in_all_orientations, in_tiles, of_any_size


@pytest.mark.parametrize(("height", "width"), [(20, 31), (16, 16), (5, 40)])
def test_tiles_that_see_far_enough_change_nothing(height: int, width: int) -> None:
    """A network that looks 9 pixels far, in tiles with a border of 9, at any size."""
    torch.manual_seed(0)
    network = SRResNet(features=4, blocks=1, scale=2).eval()
    images = torch.rand(2, 3, height, width)
    reach = 4 + 2 + 1 + 1 + 1
    with torch.no_grad():
        whole = network(images)
        tiles = in_tiles(network, tile=8, border=reach, scale=2)(images)
        near = in_tiles(network, tile=8, border=1, scale=2)(images)
    assert torch.allclose(tiles, whole, atol=1e-6)
    assert tiles.shape == whole.shape == (2, 3, 2 * height, 2 * width)
    assert not torch.allclose(near, whole, atol=1e-4)


def test_orientations_are_all_eight_and_turned_back() -> None:
    """One output per orientation, whose mean turns as the image does."""
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 3, padding=1)
    seen: list[Tensor] = []

    def call(images: Tensor) -> Tensor:
        seen.append(images)
        output: Tensor = network(images)
        return output

    images = torch.rand(1, 1, 6, 6)
    with torch.no_grad():
        mean = in_all_orientations(call)(images)
        assert len({tuple(image.flatten().tolist()) for image in seen}) == 8
        turned = in_all_orientations(call)(images.transpose(2, 3).flip(3))
    assert torch.allclose(turned, mean.transpose(2, 3).flip(3), atol=1e-6)
    assert not torch.allclose(mean, network(images), atol=1e-3)
    assert torch.allclose(in_all_orientations(nn.Identity())(images), images)


def test_padding_is_cut_off_at_the_scale_of_the_output() -> None:
    """A network that wants multiples of 4 sees 8x12 of 5x9, and gives 10x18 at twice the size."""
    shapes: list[tuple[int, ...]] = []

    def call(images: Tensor) -> Tensor:
        shapes.append(tuple(images.shape[2:]))
        return images.repeat_interleave(2, 2).repeat_interleave(2, 3)

    images = torch.rand(1, 1, 5, 9)
    output = of_any_size(call, multiple=4, scale=2)(images)
    assert shapes == [(8, 12)]
    assert torch.equal(output, images.repeat_interleave(2, 2).repeat_interleave(2, 3))
