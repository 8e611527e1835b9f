"""Batches whose content is a pure function of (seed, epoch, number of the batch).

A run that was killed and resumed at an epoch therefore sees the same batches as one that was not,
and no random state has to be stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from widthwise.data.arrays import Split
from widthwise.errors import DataError

Batch = tuple[Tensor, Tensor]
"""Raw images ``[b, c, h, w]`` (uint8) and labels ``[b]`` (int64)."""


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


class BatchSplit(Dataset[Batch]):
    """A split that is indexed by whole batches.

    One indexing operation per batch instead of one per image and a stack: for images this small
    the loader otherwise costs more than the network.

    Args:
        split: The images and labels.
    """

    def __init__(self, split: Split) -> None:
        self.split = split

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Batch:
        return self.split.images[index], self.split.labels[index]

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        chosen = torch.as_tensor(indices)
        return self.split.images[chosen], self.split.labels[chosen]


class EpochSampler(Sampler[int]):
    """All indices in an order drawn from (seed, epoch).

    Lightning calls `set_epoch` at the start of every epoch.

    Args:
        length: Number of images.
        seed: Seed of the run.
    """

    def __init__(self, length: int, *, seed: int) -> None:
        self.length = length
        self.seed = seed
        self.epoch = 0

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[int]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.length)
        return iter(order.tolist())

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next.

        Args:
            epoch: Number of the epoch, from 0.
        """
        self.epoch = epoch


def train_batches(split: Split, *, batch_size: int, seed: int) -> DataLoader[Batch]:
    """Load a split in an order that changes with the epoch; the incomplete last batch is dropped.

    Args:
        split: The training split.
        batch_size: Images per batch.
        seed: Seed of the order.

    Returns:
        A loader of `Batch`.

    Raises:
        DataError: If a batch is larger than the split.
    """
    if batch_size > len(split):
        raise DataError(
            f"A batch of {batch_size} images is larger than the training split of {len(split)}.\n"
            f"Hint: set `data.batch_size` to at most {len(split)}."
        )
    # Incomplete batches are dropped because batch normalisation over one or two images is noise;
    # the order changes every epoch, so no image is left out for good.
    return DataLoader(
        BatchSplit(split),
        batch_size=batch_size,
        sampler=EpochSampler(len(split), seed=seed),
        drop_last=True,
        collate_fn=_as_is,
    )


def eval_batches(split: Split, *, batch_size: int) -> DataLoader[Batch]:
    """Load a split once, in order and completely.

    Args:
        split: The test split.
        batch_size: Images per batch; the last one may be smaller.

    Returns:
        A loader of `Batch`.
    """
    return DataLoader(BatchSplit(split), batch_size=batch_size, collate_fn=_as_is)


def _as_is(batch: Any) -> Any:
    return batch
