"""A plan's file: read with care, for it may have been edited, cut short, or be no file at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from widthwise import errors
from widthwise.files import read_ordinary

CHECKSUM = "checksum"
"""The field that tells what the others were when the plan was saved."""
_LARGEST = 64 * 2**20
"""Bytes. A plan of ResNet-50 has less than a thousandth of this."""


def read_json(path: str | os.PathLike[str]) -> Any:
    """Read a JSON file.

    Args:
        path: The file.

    Returns:
        What it holds.

    Raises:
        PlanError: If it is missing, not an ordinary file, too large or no JSON.
    """
    try:
        content = read_ordinary(path, most=_LARGEST)
    except FileNotFoundError as error:
        raise errors.PlanError(
            f"There is no plan file `{Path(path).absolute()}`.\n"
            "Hint: pass the path that `plan.save(path)` wrote; in a run folder it is plan.json."
        ) from error
    except OSError as error:
        raise errors.damaged_plan(path, error.strerror or str(error)) from error
    try:
        return json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise errors.damaged_plan(path, f"it is not JSON ({error}).") from error


def checksum_of(data: Mapping[str, Any]) -> str:
    """Return what the checksum of a plan's fields must be, whatever their order and spacing."""
    fields = {key: value for key, value in data.items() if key != CHECKSUM}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def check(path: str | os.PathLike[str], data: Mapping[str, Any]) -> None:
    """Hold the fields of a plan against their checksum, if there is one.

    Raises:
        PlanError: If they have changed since they were saved.
    """
    if CHECKSUM in data and data[CHECKSUM] != checksum_of(data):
        raise errors.edited_plan(path)
