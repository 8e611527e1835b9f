"""Where a data set is looked for, and what is said when it is not there or damaged."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from widthwise.errors import DataError

FOLDER_VARIABLE = "WIDTHWISE_DATA"
"""Environment variable with the folder of all data sets."""

WHICH_FOLDER = (
    "The folder is `task.folder` in a recipe, or else the environment variable "
    f"{FOLDER_VARIABLE}, or else `data`."
)
"""How the folder is chosen, for messages."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a data set comes from."""

    folder: Path
    """Folder of the data sets."""
    download: bool = False
    """Whether it may be downloaded into that folder if it is not there."""
    image_size: int | None = None
    """Height and width to which images from files are cut; None for the usual one."""
    whole: bool = False
    """Whether no parts are cut out of them; see `OnDemandSplit`."""


def data_folder(folder: Path | None) -> Path:
    """Choose the folder of the data sets.

    Args:
        folder: The folder, if one was given.

    Returns:
        That one, or else the one in the environment variable `FOLDER_VARIABLE`, or else ``data``.
    """
    return Path(folder) if folder is not None else Path(os.environ.get(FOLDER_VARIABLE) or "data")


def missing(name: str, looked_for: Sequence[str], folder: Path, *, get: str) -> DataError:
    """Say that a data set is not there.

    Args:
        name: Name of the data set.
        looked_for: What would have been it, inside of `folder`.
        folder: Where it was looked for.
        get: How to get it: one or more sentences.

    Returns:
        The error to raise.
    """
    sought = " or ".join(f"`{item}`" for item in looked_for)
    state = "" if folder.is_dir() else ", which is not a folder"
    return DataError(
        f"The data set `{name}` was not found: looked for {sought} in "
        f"`{folder.absolute()}`{state}.\n"
        f"Hint: {get} {WHICH_FOLDER}"
    )


def download(name: str, folder: Path, fetch: Callable[[], object]) -> None:
    """Download a data set.

    Args:
        name: Name of the data set.
        folder: Where it goes; made if it is not there.
        fetch: Does it.

    Raises:
        DataError: If it fails, with the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        fetch()
    # Network, server, disk and checksum fail in as many ways, RuntimeError among them.
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise DataError(
            f"The data set `{name}` could not be downloaded into `{folder.absolute()}`: {reason}\n"
            "Hint: check the network and the disk and try again, or put the files there by hand "
            "and leave out `task.download`."
        ) from error


def damaged(path: Path, problem: str) -> DataError:
    """Say that a file of a data set cannot be used.

    Args:
        path: The file.
        problem: What is wrong with it: expected and got.

    Returns:
        The error to raise.
    """
    return DataError(
        f"The data file `{path}` is damaged: {problem}.\n"
        "Why: one bad file would go into every result without a trace.\n"
        "Hint: the file was cut short or changed; delete it and get the data set again."
    )


def read_bytes(path: Path) -> bytes:
    """Read a file of a data set.

    Args:
        path: The file.

    Returns:
        All of it.

    Raises:
        DataError: If it is missing or cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(
            f"The data file `{path}` cannot be read: {error.strerror or error}.\n"
            "Hint: get the data set again, or correct its rights."
        ) from error
