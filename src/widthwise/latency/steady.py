"""What times depend on besides network and machine, held still: threads and freed memory."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Names of two options of `mallopt` in glibc's malloc.h."""
_NEVER, _LARGEST = 2**31 - 1, 32 * 2**20
"""Bytes: as much as the options take."""


@contextmanager
def steady(threads: int) -> Iterator[None]:
    """Measure inside: PyTorch has so many threads, and memory that was freed is kept.

    Args:
        threads: CPU threads, for as long as the context lasts.
    """
    keep_memory()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def keep_memory() -> bool:
    """Let this process keep memory that it has freed, from now on, if the system can be told.

    Between two runs of a network, glibc gives the memory of large activations back to the system,
    and then takes it again page by page; or it does not, depending on the sizes that happened to be
    freed before. The same network takes far longer in the one case, so that a cut seems to save
    nothing, or far too much. Outside of Widthwise, the environment variable
    ``MALLOC_TRIM_THRESHOLD_=2000000000`` does the same for a program.

    Returns:
        Whether that has been done: on Linux with glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return False
    # Either alone ends glibc's own search for a good threshold.
    return bool(mallopt(_TRIM_THRESHOLD, _NEVER) and mallopt(_MMAP_THRESHOLD, _LARGEST))
