"""Several processes train one run together; the first of them writes the run folder."""

from __future__ import annotations

import os

import torch.distributed


def is_leader() -> bool:
    """Tell whether this process writes: the first of a distributed run, or the only one.

    Launchers say so in the environment: ``torchrun`` and Slurm by the rank among all processes,
    Lightning's own launcher by machine and rank on it.

    Returns:
        Whether it is the one that writes.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if name in os.environ:
            return int(os.environ[name]) == 0
    return all(int(os.environ.get(name, 0)) == 0 for name in ("NODE_RANK", "LOCAL_RANK"))


def wait_for_all() -> None:
    """Wait until every process of a distributed run is here, so that all see the same files."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
