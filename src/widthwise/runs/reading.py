"""Reading what lies in a run folder."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from widthwise.errors import RunError


def read_metrics(path: Path) -> list[dict[str, str]]:
    """Read metrics.csv.

    Args:
        path: The run folder.

    Returns:
        One mapping per line, of texts; empty if there is no such file yet.
    """
    file = path / "metrics.csv"
    if not file.exists():
        return []
    return list(csv.DictReader(io.StringIO(file.read_text())))


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
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise RunError(
            f"Cannot read `{path}`: {error}\n"
            "Why: Widthwise writes such files whole or not at all; this one was changed later.\n"
            "Hint: delete it and resume; what it held is made again."
        ) from error
