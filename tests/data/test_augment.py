"""Augmentation of whole batches: exact, and determined by its seed alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from widthwise.data.augment import random_flip, random_orientation, random_shift


def slow_shift(image: Tensor, down: int, right: int) -> Tensor:
    """Move one image value by value; what comes from outside is zero."""
    shifted = torch.zeros_like(image)
    _, height, width = image.shape
    for y in range(height):
        for x in range(width):
            if 0 <= y - down < height and 0 <= x - right < width:
                shifted[:, y, x] = image[:, y - down, x - right]
    return shifted


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_every_shift_is_one_of_the_slow_obvious_ones(dtype: torch.dtype) -> None:
    """Every image moves as a loop over its pixels would move it, by an offset within the limit."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(1, 255, (12, 3, 5, 7), generator=generator).to(dtype)
    shifted = random_shift(images, pixels=2, seed=7)
    offsets = range(-2, 3)
    for image, moved in zip(images, shifted, strict=True):
        candidates = [slow_shift(image, down, right) for down in offsets for right in offsets]
        assert sum(torch.equal(moved, candidate) for candidate in candidates) == 1


def test_a_shift_is_a_crop_of_the_padded_image() -> None:
    """Every shifted image equals one of the crops of its zero-padded original."""
    images = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).reshape(2, 3, 4, 5) + 1
    shifted = random_shift(images, pixels=2, seed=7)
    padded = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for image, wide in zip(shifted, padded, strict=True):
        crops = [wide[:, y : y + 4, x : x + 5] for y in range(5) for x in range(5)]
        assert any(torch.equal(image, crop) for crop in crops)


def test_a_shift_depends_on_its_seed_only() -> None:
    """The same seed shifts alike, whatever was drawn before; images move independently."""
    images = torch.rand(64, 1, 6, 6)
    once = random_shift(images, pixels=1, seed=3)
    torch.rand(5)
    assert torch.equal(once, random_shift(images, pixels=1, seed=3))
    assert not torch.equal(once, random_shift(images, pixels=1, seed=4))
    same = random_shift(images[:1].expand(64, -1, -1, -1), pixels=1, seed=3)
    assert len({tuple(image.flatten().tolist()) for image in same}) == 9


def test_a_shift_keeps_the_dtype() -> None:
    """Raw uint8 images stay uint8."""
    images = torch.ones(2, 1, 4, 4, dtype=torch.uint8)
    assert random_shift(images, pixels=1, seed=0).dtype == torch.uint8


def test_a_shift_leaves_its_input_alone() -> None:
    """The batch that comes in is not changed, and what goes out is contiguous."""
    images = torch.rand(4, 2, 6, 6)
    before = images.clone()
    assert random_shift(images, pixels=2, seed=0).is_contiguous()
    assert torch.equal(images, before)


def test_every_image_is_mirrored_or_left_alone() -> None:
    """An image comes out as it was or with its columns reversed, about half of them each."""
    images = torch.rand(400, 3, 2, 4)
    flipped = random_flip(images, seed=5)
    mirrored = [torch.equal(new, old.flip(-1)) for new, old in zip(flipped, images, strict=True)]
    same = [torch.equal(new, old) for new, old in zip(flipped, images, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 150 < sum(mirrored) < 250


def test_a_flip_depends_on_its_seed_only() -> None:
    """The same seed mirrors the same images, whatever was drawn before; dtypes stay."""
    images = torch.randint(0, 255, (64, 1, 2, 3), dtype=torch.uint8)
    once = random_flip(images, seed=3)
    torch.rand(5)
    assert torch.equal(once, random_flip(images, seed=3))
    assert not torch.equal(once, random_flip(images, seed=4))
    assert once.dtype == torch.uint8


def test_one_seed_serves_flip_and_shift() -> None:
    """Images that one seed mirrors are moved like the others: neither decides the other."""
    images = torch.zeros(4000, 1, 1, 9)
    images[..., 4] = 1
    moved = random_shift(images, pixels=4, seed=1).flatten(1)
    asymmetric = torch.arange(2.0).repeat(4000, 1).reshape(4000, 1, 1, 2)
    mirrored = random_flip(asymmetric, seed=1)[:, 0, 0, 0] == 1
    difference = moved[mirrored].mean(dim=0) - moved[~mirrored].mean(dim=0)
    assert float(difference.abs().max()) < 0.05


def test_the_global_generator_is_left_alone() -> None:
    """Augmentation draws nothing from the generator that dropout draws from."""
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    random_flip(
        random_shift(torch.rand(2, 1, 4, 4, generator=torch.Generator()), pixels=1, seed=0), seed=0
    )
    assert torch.equal(torch.rand(3), expected)


def test_orientations_are_equally_likely_and_decided_by_the_seed() -> None:
    """Each of the eight comes about as often; the same seed gives the same ones."""
    square = torch.arange(9).reshape(1, 1, 3, 3).repeat(800, 1, 1, 1)
    turned = random_orientation(square, seed=3)
    _, counts = turned.unique(dim=0, return_counts=True)
    assert len(counts) == 8
    assert counts.min() > 60
    assert torch.equal(turned, random_orientation(square, seed=3))
    assert not torch.equal(turned, random_orientation(square, seed=4))
