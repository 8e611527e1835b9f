"""Reading what lies in a run folder. What cannot be read is an error that names the file."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from widthwise.errors import RunError

_CHANGED = "Why: Widthwise writes such files whole or not at all; this one was changed later."


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read metrics.csv.

    Args:
        path: The run folder.

    Returns:
        One mapping per line, of texts; empty if there is no such file yet.

    Raises:
        RunError: If it is damaged.
    """
    file = path / "metrics.csv"
    if not file.exists():
        return []
    hint = "get it from a backup, or start the run anew with `--out FOLDER`."
    try:
        lines = list(csv.DictReader(io.StringIO(_text(file)), strict=True))
    except csv.Error as error:
        raise damaged(file, error, hint) from error
    for number, line in enumerate(lines, start=2):
        # Cells that a line has too many are under None; those it lacks are None.
        if None in line or None in line.values():
            raise damaged(file, f"line {number} has not as many cells as the first", hint)
    return lines


def read_json(path: Path) -> Any | None:
    """Read a JSON file of a run folder.

    Args:
        path: The file.

    Returns:
        Its content, or None if it does not exist.

    Raises:
        RunError: If it is damaged.
    """
    if not path.exists():
        return None
    text = _text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        hint = "delete it and resume; what it held is made again."
        raise damaged(path, error, hint) from error


def read_config(path: Path) -> dict[str, Any]:
    """Read config.yaml.

    Args:
        path: The run folder.

    Returns:
        The complete recipe, as plain values.

    Raises:
        RunError: If it is missing or damaged.
    """
    file = path / "config.yaml"
    text = _text(file)
    hint = "get it from a backup, or start the run anew with `--out FOLDER`."
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise damaged(file, error, hint) from error
    if not isinstance(config, Mapping):
        raise damaged(file, "it is not a mapping of keys to values", hint)
    return dict(config)


def damaged(path: Path, problem: object, hint: str) -> RunError:
    """Say that a file of a run folder cannot be used.

    Args:
        path: The file.
        problem: What is wrong with it.
        hint: The way out.

    Returns:
        The error to raise.
    """
    return RunError(f"Cannot read `{path}`: {problem}\n{_CHANGED}\nHint: {hint}")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise damaged(path, f"it is not UTF-8: {error}", "get it from a backup.") from error
    except OSError as error:
        raise RunError(
            f"Cannot read `{path}`: {error.strerror or error}.\n"
            "Hint: check the name of the run folder and the rights of its files."
        ) from error
