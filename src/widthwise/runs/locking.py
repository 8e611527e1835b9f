"""Hold a file so that no other process can, until this one lets go of it or ends."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import IO, Any

from widthwise.errors import RunError
from widthwise.runs.writing import LOCK_NAME, cannot_write

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


def hold_folder(path: Path) -> IO[str]:
    """Take hold of a folder, which is made if it does not exist; see `hold`.

    Args:
        path: The folder.

    Returns:
        What lets go of it when it is closed.

    Raises:
        RunError: If another process holds it, or it cannot be written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise RunError(cannot_write(path, error)) from error
    if not hold(lock):
        lock.seek(0)
        holder = lock.read().strip()
        lock.close()
        raise RunError(
            f"Another process ({holder or 'unknown'}) is running in `{path}`.\n"
            "Hint: wait until it ends, or choose another folder with `--out`."
        )
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


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
