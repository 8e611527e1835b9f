"""Read files that are files, and write them whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

CACHE_VARIABLE = "WIDTHWISE_CACHE"
"""Environment variable that names another folder than the user's own for what is kept."""


def read_ordinary(path: str | os.PathLike[str], *, most: int | None = None) -> bytes:
    """Read a whole file, if it is one: a pipe or a device would be waited for, or never end.

    Args:
        path: The file.
        most: Largest size in bytes; None for any.

    Returns:
        Its content.

    Raises:
        OSError: If it cannot be read, is not an ordinary file, or is too large.
    """
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError("it is not an ordinary file")
    if most is not None and found.st_size > most:
        raise OSError(f"it has {found.st_size:,} bytes, more than any such file")
    return Path(path).read_bytes()


def write_atomically(path: str | os.PathLike[str], content: str | bytes) -> None:
    """Write a file so that a reader, or a crash, sees the old one or the new one, never a part.

    Args:
        path: The file; its folder must exist.
        content: Text, written as UTF-8, or bytes.

    Raises:
        OSError: If the folder is missing or not writable, or the disk is full. The old file, if
            there was one, is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    write_stream(path, lambda file: file.write(data))


def write_stream(path: str | os.PathLike[str], write: Callable[[IO[bytes]], object]) -> None:
    """Write a file as `write_atomically` does, piece by piece, so that it need not fit in memory.

    Args:
        path: The file; its folder must exist.
        write: Called once with a binary file that is open for writing.

    Raises:
        OSError: As of `write_atomically`. What `write` raises gets through; the old file is intact.
    """
    target = Path(path)
    name = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    # Made with the usual rights, not with those of private files: the system takes off the umask,
    # which a program cannot read without changing it for all its threads.
    handle = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        name.replace(target)
    except BaseException:
        name.unlink(missing_ok=True)
        raise


def cache_folder() -> Path:
    """Return where what took long to make is kept between runs of a program.

    Returns:
        What `WIDTHWISE_CACHE` names; else a folder where this system keeps such files.
    """
    named = os.environ.get(CACHE_VARIABLE)
    if named:
        return Path(named)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "widthwise"
