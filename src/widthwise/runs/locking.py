"""Hold a file so that no other process can, until this one lets go of it or ends."""

from __future__ import annotations

from importlib import import_module
from typing import IO, Any

_FAR = 1 << 30
"""Byte that is locked on Windows: locked bytes cannot be read, and the first ones are a message."""


def hold(file: IO[str]) -> bool:
    """Take hold of an open file; the system lets go of it however the process ends.

    Args:
        file: Open for writing. Its content is not changed.

    Returns:
        Whether it is held now; False if another process holds it.
    """
    # Each system has one of the two modules, and type checkers know that of their own only.
    try:
        unix: Any = import_module("fcntl")
    except ImportError:
        return _hold_on_windows(file, import_module("msvcrt"))
    try:
        unix.flock(file, unix.LOCK_EX | unix.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _hold_on_windows(file: IO[str], windows: Any) -> bool:
    place = file.tell()
    file.seek(_FAR)
    try:
        windows.locking(file.fileno(), windows.LK_NBLCK, 1)
    except OSError:
        return False
    finally:
        file.seek(place)
    return True
