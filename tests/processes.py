"""Run parts of a test file on two processes that know of each other."""

from __future__ import annotations

import importlib.util
import os
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

Work = Callable[[int, Path], None]
"""A function of a test file, called with the rank and a folder that both processes have."""


@dataclass(frozen=True)
class Done:
    """What two processes have done."""

    names: frozenset[str]
    error: Exception | None

    def require(self, work: Work) -> None:
        """Raise what went wrong, if it did before or in a function."""
        if work.__name__ not in self.names:
            assert self.error is not None
            raise self.error


def on_two_processes(works: Sequence[Work], folder: Path, *, group: bool = True) -> Done:
    """Call functions one after the other, as process 0 and as process 1.

    Args:
        works: Of one file. Starting two processes takes longer than what most of them do.
        folder: Theirs together.
        group: Make a process group; otherwise only the environment says who they are, as `torchrun`
            leaves it.
    """
    file = sys.modules[works[0].__module__].__file__
    names = [work.__name__ for work in works]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error: Exception | None = None
    try:
        torch.multiprocessing.spawn(_be, args=(file, names, folder, port, group), nprocs=2)
    except Exception as raised:
        error = raised
    done = {name for name in names if all((folder / f"{rank}.{name}").exists() for rank in (0, 1))}
    return Done(frozenset(done), error)


def _be(rank: int, file: str, names: list[str], folder: Path, port: int, group: bool) -> None:
    os.environ |= {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    }
    torch.set_num_threads(1)
    # The file of a test has no name to import it by.
    spec = importlib.util.spec_from_file_location("two_processes", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["two_processes"] = module
    spec.loader.exec_module(module)
    if group:
        distributed.init_process_group("gloo", timeout=timedelta(seconds=60))
    for name in names:
        getattr(module, name)(rank, folder)
        (folder / f"{rank}.{name}").touch()
    if distributed.is_initialized():
        distributed.destroy_process_group()
