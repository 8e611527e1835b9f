"""Batches are a pure function of (seed, epoch, number of the batch)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import pytest
import torch
from torch import Tensor, distributed

from widthwise.data.arrays import Split
from widthwise.data.batches import Batch, eval_batches, train_batches
from widthwise.errors import ConfigError, DataError


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
    with pytest.raises(DataError, match=r"`task\.batch_size` to at most 4"):
        train_batches(make_split(4), batch_size=5, seed=0)


def shares(monkeypatch: pytest.MonkeyPatch, processes: int, make: Callable[[], Any]) -> list[Any]:
    """What every process of a distributed run gets."""
    found = []
    monkeypatch.setattr(distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(distributed, "get_world_size", lambda: processes)
    for rank in range(processes):
        monkeypatch.setattr(distributed, "get_rank", lambda rank=rank: rank)
        found.append([labels.tolist() for _, labels in make()])
    return found


def test_processes_share_every_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shares of a batch, put together, are the batch that one process would get."""

    def make() -> Any:
        return train_batches(make_split(20), batch_size=6, seed=1)

    alone = [sorted(labels.tolist()) for _, labels in make()]
    together = shares(monkeypatch, 3, make)
    assert [len(labels) for rank in together for labels in rank] == [2] * 9
    assert [sorted(chain(*parts)) for parts in zip(*together, strict=True)] == alone


@pytest.mark.parametrize(("count", "size"), [(5, 3), (12, 3), (13, 3), (17, 3), (5, 1)])
def test_processes_evaluate_every_image_once(
    count: int, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image comes to one process, all have as many batches, and none is empty."""
    together = shares(monkeypatch, 4, lambda: eval_batches(make_split(count), batch_size=size))
    assert len({len(rank) for rank in together}) == 1
    assert all(labels for rank in together for labels in rank)
    assert sorted(chain(*chain(*together))) == list(range(count))


def test_a_batch_that_cannot_be_shared_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares must be equal: an error names a divisor."""
    with pytest.raises(ConfigError, match=r"`task\.batch_size` to a multiple of 4"):
        shares(monkeypatch, 4, lambda: train_batches(make_split(20), batch_size=6, seed=0))


def test_the_length_of_a_loader_is_its_batches() -> None:
    """Progress and schedules can ask a loader how many batches it has."""
    for count, size in ((20, 6), (7, 3), (3, 3)):
        train = train_batches(make_split(count), batch_size=size, seed=0)
        test = eval_batches(make_split(count), batch_size=size)
        assert (len(train), len(test)) == (len(list(train)), len(list(test)))
        assert max(len(labels) for _, labels in test) <= size


@dataclass
class Seeds:
    """A split that gives the seed it is asked with, in place of images."""

    def __len__(self) -> int:
        return 4

    def first(self, count: int) -> Tensor:
        raise NotImplementedError

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Batch:
        given = -1 if seed is None else seed
        return torch.tensor([given] * len(numbers)), torch.tensor(numbers)


def test_what_is_cut_depends_on_seed_and_epoch() -> None:
    """A split is asked with another seed in every epoch and run, and with none to evaluate."""
    found = set()
    for seed in (0, 1):
        loader = train_batches(Seeds(), batch_size=2, seed=seed)
        for epoch in (0, 1):
            loader.sampler.set_epoch(epoch)
            of_epoch = {value for images, _ in loader for value in images.tolist()}
            assert len(of_epoch) == 1
            found |= of_epoch
    assert len(found) == 4
    assert -1 not in found
    assert {
        value for images, _ in eval_batches(Seeds(), batch_size=2) for value in images.tolist()
    } == {-1}
