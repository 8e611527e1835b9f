"""Write files whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO


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
    handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; give them the usual rights.
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
