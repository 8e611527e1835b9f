"""Batches are a pure function of (seed, epoch, number of the batch)."""

from __future__ import annotations

import pytest
import torch

from widthwise.data.arrays import Split
from widthwise.data.augment import random_shift
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import DataError


def make_split(count: int) -> Split:
    """Images whose only value is their number, which is also their label."""
    numbers = torch.arange(count)
    return Split(images=numbers.to(torch.uint8).reshape(-1, 1, 1, 1), labels=numbers)


def orders(seed: int, epochs: list[int]) -> list[list[int]]:
    """Labels in the order in which one loader gives them, epoch after epoch."""
    loader = train_batches(make_split(20), batch_size=5, seed=seed)
    found = []
    for epoch in epochs:
        loader.sampler.set_epoch(epoch)
        found.append(torch.cat([labels for _, labels in loader]).tolist())
    return found


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    """A loader that starts at epoch 2 gives what one that was there before gives."""
    first, second, third = orders(0, [0, 1, 2])
    assert orders(0, [2]) == [third]
    assert first != second != third
    assert orders(1, [2]) != [third]
    assert sorted(third) == list(range(20))


def test_images_and_labels_stay_together() -> None:
    """Every image comes with its own label."""
    for images, labels in train_batches(make_split(20), batch_size=5, seed=0):
        assert images.flatten().tolist() == labels.tolist()


def test_training_drops_the_incomplete_batch_and_evaluation_keeps_it() -> None:
    """Of 7 images in batches of 3, training sees 6 and evaluation all, in order."""
    sizes = [len(labels) for _, labels in train_batches(make_split(7), batch_size=3, seed=0)]
    assert sizes == [3, 3]
    seen = torch.cat([labels for _, labels in eval_batches(make_split(7), batch_size=3)])
    assert seen.tolist() == list(range(7))


def test_a_batch_larger_than_the_split_is_refused() -> None:
    """No epoch without a single batch: an error names the largest size."""
    with pytest.raises(DataError, match=r"`data\.batch_size` to at most 4"):
        train_batches(make_split(4), batch_size=5, seed=0)


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
