"""Writing into a run folder: whole files or none, and errors that say the way out."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import IO, Any

import yaml

from widthwise import files
from widthwise.errors import RunError

LOCK_NAME = ".lock"


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file whole or not at all, making its folder if needed.

    It is written whatever process this is: of a run with several, `RunFolder` lets only the leader
    get here.

    Args:
        path: The file.
        content: Text, or bytes.

    Raises:
        RunError: If the disk is full or the folder cannot be written; the old file is intact.
    """
    data = content.encode() if isinstance(content, str) else content
    write_stream(path, lambda file: file.write(data))


def write_stream(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file as `write_file` does, piece by piece, so that it need not fit in memory.

    Args:
        path: The file.
        write: Called with a binary file that is open for writing.

    Raises:
        RunError: As of `write_file`.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write_stream(path, write)
    except OSError as error:
        raise RunError(cannot_write(path, error)) from error


def write_json(path: Path, content: Any) -> None:
    """Write plain values as JSON; see `write_file`."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def remove_unfinished(folders: Iterable[Path]) -> None:
    """Remove what writers that were killed in the middle have left.

    Args:
        folders: Folders to look into, not below.
    """
    for folder in folders:
        # Files are written under hidden names; nothing else in a run folder has one.
        for path in folder.glob(".*"):
            if path.name != LOCK_NAME and path.is_file():
                path.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> str:
    """Explain why a file could not be written.

    Args:
        path: The file.
        error: What the system said.

    Returns:
        Text of the error to raise.
    """
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        hint = (
            "free some space and run the same command again, with `--resume` if it is `search`; "
            "nothing written earlier is lost."
        )
    else:
        hint = "check the permissions, or choose another folder with `--out`."
    return f"Cannot write `{path}`: {error.strerror or error}.\nHint: {hint}"


def write_model(folder: Path, name: str) -> None:
    """Note in config.yaml which network a folder was cut from, so that it is a MODEL itself.

    Args:
        folder: The folder.
        name: MODEL of the full network.

    Raises:
        RunError: As `write_file` does.
    """
    write_file(folder / "config.yaml", yaml.safe_dump({"model": {"name": name, "options": {}}}))
