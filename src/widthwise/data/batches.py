"""Batches whose content is a pure function of (seed, epoch, number of the batch).

A run that was killed and resumed at an epoch therefore sees the same batches as one that was not,
and no random state has to be stored. The number of workers changes nothing but the time.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, Dataset, Sampler

from widthwise.data.arrays import Batch, LateSplit, Split
from widthwise.errors import ConfigError, DataError

__all__ = ["Batch", "derived_seed", "eval_batches", "train_batches"]


def derived_seed(*numbers: int) -> int:
    """Mix numbers into one seed, so that neighbouring numbers give unrelated streams.

    Args:
        *numbers: Non-negative integers such as (seed, epoch, batch).

    Returns:
        A seed below 2**32.

    Example:
        >>> derived_seed(0, 1) != derived_seed(1, 0)
        True
    """
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])


class Numbered(Protocol):
    """Anything that can be had in batches, by numbers; `widthwise.data.arrays.Images` is one."""

    def __len__(self) -> int:
        """Count the items."""
        ...

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Any:
        """Give some of the items.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides, with the number of an item, what is random about it; None to test.

        Returns:
            A batch.
        """
        ...


class Wanted(NamedTuple):
    """What a batch consists of. Workers get the seed with it, so they need not know the epoch."""

    numbers: list[int]
    """Numbers of the images."""
    seed: int | None
    """See `Numbered.batch`."""


class BatchesOf(Dataset[Any]):
    """A split that is indexed by whole batches.

    Args:
        split: The items.
    """

    def __init__(self, split: Numbered) -> None:
        self.split = split

    def __getitem__(self, wanted: Wanted) -> Any:
        # An error that is raised in a worker arrives wrapped into the worker's traceback.
        try:
            return self.split.batch(wanted.numbers, seed=wanted.seed)
        except DataError as error:
            return error


class InOrder(Sampler[Wanted]):
    """Every image once, in order, in batches of nearly equal size.

    Processes of a distributed run get as many batches each, and every image comes to one of them.

    Args:
        length: Number of images.
        batch_size: Largest number of images per batch.
    """

    def __init__(self, length: int, *, batch_size: int) -> None:
        self.length = length
        self.batch_size = batch_size

    def __len__(self) -> int:
        _, processes = _share()
        full = -(-self.length // (self.batch_size * processes))
        # No batch is empty: its mean loss would be NaN.
        return max(1, min(full, self.length // processes))

    def __iter__(self) -> Iterator[Wanted]:
        rank, processes = _share()
        pieces = np.array_split(np.arange(self.length), len(self) * processes)
        return (Wanted(piece.tolist(), None) for piece in pieces[rank::processes])


class EpochSampler(Sampler[Wanted]):
    """Whole batches in an order drawn from (seed, epoch).

    Lightning calls `set_epoch` at the start of every epoch. In a distributed run every process gets
    its share of every batch, so that a step sees the same images on any number of processes.

    Args:
        length: Number of images.
        batch_size: Images per batch, of all processes together; what is left over is left out.
        seed: Seed of the run.
    """

    def __init__(self, length: int, *, batch_size: int, seed: int) -> None:
        self.length = length
        self.batch_size = batch_size
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length // self.batch_size

    def __iter__(self) -> Iterator[Wanted]:
        rank, processes = _share()
        if self.batch_size % processes:
            raise ConfigError(
                f"A batch of {self.batch_size} images cannot be shared by {processes} processes.\n"
                "Why: gradients are averaged over processes, so shares must be equal.\n"
                f"Hint: set `task.batch_size` to a multiple of {processes}."
            )
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        seed = derived_seed(self.seed, self.epoch)
        for number in range(len(self)):
            start = number * self.batch_size
            batch = order[start : start + self.batch_size]
            yield Wanted(batch[rank::processes].tolist(), seed)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch


class Batches(DataLoader[Any]):
    """A loader that raises the errors of its workers as they were."""

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        for batch in super().__iter__():
            if isinstance(batch, DataError):
                raise batch
            yield batch


def train_batches(
    split: Numbered, *, batch_size: int, seed: int, workers: int = 0
) -> DataLoader[Any]:
    """Load a split in an order that changes with the epoch; the incomplete last batch is dropped.

    Args:
        split: The training split.
        batch_size: Images per batch, of all processes of a distributed run together.
        seed: Seed of the order, and of what is cut out of images in files.
        workers: Processes that decode files, 0 to do it in this one. Images in memory need none
            and get none.

    Returns:
        A loader of what `split.batch` gives.

    Raises:
        DataError: If a batch is larger than the split.
    """
    if batch_size > len(split):
        raise DataError(
            f"A batch of {batch_size} images is larger than the training split of {len(split)}.\n"
            f"Hint: set `task.batch_size` to at most {len(split)}."
        )
    # Incomplete batches are dropped because batch normalisation over one or two images is noise;
    # the order changes every epoch, so no image is left out for good.
    return _loader(split, EpochSampler(len(split), batch_size=batch_size, seed=seed), workers)


def eval_batches(split: Numbered, *, batch_size: int, workers: int = 0) -> DataLoader[Any]:
    """Load a split once, in order and completely.

    Args:
        split: The test split.
        batch_size: Largest number of images per batch.
        workers: As of `train_batches`.

    Returns:
        A loader of what `split.batch` gives.
    """
    return _loader(split, InOrder(len(split), batch_size=batch_size), workers)


def _loader(split: Numbered, sampler: Sampler[Wanted], workers: int) -> DataLoader[Any]:
    if isinstance(split, LateSplit):
        # Now, and not in the first step of training: it takes time, and may find damaged files.
        split = split.loaded
    workers = 0 if isinstance(split, Split) else workers
    return Batches(
        BatchesOf(split),
        batch_size=None,
        sampler=sampler,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=torch.cuda.is_available(),
        collate_fn=_as_is,
    )


def _share() -> tuple[int, int]:
    """Number of this process, and how many there are."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _as_is(batch: Any) -> Any:
    return batch
