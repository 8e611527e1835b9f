"""Crops are a pure function of a seed and their number."""

from __future__ import annotations

import pytest
import torch

from widthwise.data.batches import train_batches
from widthwise.data.crops import Crops, Whole
from widthwise.data.pairs import Pair
from widthwise.errors import DataError


def numbered(name: str, height: int, width: int, first: int = 0) -> Pair:
    """A photograph whose pixels are numbered row by row, beside itself."""
    pixels = torch.arange(first, first + height * width).reshape(1, height, width)
    return Pair(name=name, given=pixels, clean=pixels)


def test_a_crop_is_decided_by_seed_and_number() -> None:
    """In whatever batch it comes; another seed or number gives another one."""
    crops = Crops([numbered("a", 40, 50)], side=8, count=100)
    together, _, numbers = crops.batch([5, 6, 7], seed=1)
    alone, _, _ = crops.batch([6], seed=1)
    assert numbers.tolist() == [5, 6, 7]
    assert torch.equal(together[1], alone[0])
    assert not torch.equal(together[0], together[1])
    assert not torch.equal(crops.batch([6], seed=2)[0], alone)


def test_crops_are_squares_out_of_photographs() -> None:
    """Every place of every photograph can be shown, and only places inside."""
    small, large = numbered("a", 5, 6), numbered("b", 6, 5, first=1000)
    crops = Crops([small, large], side=4, count=1000)
    pixels, _, _ = crops.batch(range(1000), seed=0)
    starts = set(pixels[:, 0, 0, 0].tolist())
    expected = {row * 6 + column for row in range(2) for column in range(3)}
    expected |= {1000 + row * 5 + column for row in range(3) for column in range(2)}
    assert starts == expected
    below = pixels[:, 0, 1, 0] - pixels[:, 0, 0, 0]
    assert torch.equal(below, torch.where(pixels[:, 0, 0, 0] < 1000, 6, 5))


def test_photographs_are_equally_likely_whatever_their_size() -> None:
    """A large one is not shown more often than a small one."""
    crops = Crops([numbered("a", 4, 4), numbered("b", 100, 100, first=1000)], side=4, count=1000)
    pixels, _, _ = crops.batch(range(1000), seed=0)
    assert 420 < int((pixels[:, 0, 0, 0] < 1000).sum()) < 580


def test_an_epoch_shows_new_crops() -> None:
    """The loader gives other crops in every epoch, and the same again in the same epoch."""
    crops = Crops([numbered("a", 60, 60)], side=8, count=8)
    loader = train_batches(crops, batch_size=4, seed=0)

    def starts(epoch: int) -> list[int]:
        loader.sampler.set_epoch(epoch)
        return [int(start) for pixels, _, _ in loader for start in pixels[:, 0, 0, 0]]

    first = starts(0)
    assert not set(starts(1)) & set(first)
    assert starts(0) == first


def test_a_photograph_smaller_than_a_crop_is_refused() -> None:
    """All such photographs are named, with their sizes."""
    photographs = [numbered("a", 40, 7), numbered("b", 8, 8), numbered("c", 5, 40)]
    with pytest.raises(DataError, match=r"(?s)8x8 pixels.*`a`: 40x7.*`c`: 5x40.*`task\.patch`"):
        Crops(photographs, side=8, count=1)


def test_long_sides_are_cut_around_the_middle() -> None:
    """Shorter ones stay as they are."""
    whole = Whole([numbered("a", 3, 9)], largest_side=5)
    pixels, clean, numbers = whole.batch([0], seed=None)
    assert pixels[0].shape == (1, 3, 5)
    assert pixels[0][0, 0].tolist() == [2, 3, 4, 5, 6]
    assert torch.equal(pixels[0], clean[0])
    assert numbers.tolist() == [0]
    assert Whole([numbered("a", 3, 9)], largest_side=None).pairs[0].clean.shape == (1, 3, 9)
