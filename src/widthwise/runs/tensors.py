"""Tensors and plain values in one file of a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from widthwise.errors import RunError
from widthwise.runs.writing import write_stream


def write_tensors(path: Path, content: Mapping[str, Any]) -> None:
    """Write tensors and plain values; see `write_stream`.

    Args:
        path: The file.
        content: Nested mappings and lists of tensors and plain values.
    """
    write_stream(path, lambda file: torch.save(dict(content), file))


def read_tensors(path: Path) -> dict[str, Any]:
    """Read what `write_tensors` wrote. Never runs code from the file.

    Args:
        path: The file.

    Returns:
        Its content, on the CPU.

    Raises:
        RunError: If it is missing or damaged.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    # Damaged zip or pickle data makes the readers raise almost anything.
    except Exception as error:
        raise RunError(
            f"Cannot read `{path}`: {error}\n"
            f"Hint: delete `{path.parent / 'result.json'}` and resume; the stage is finished again."
        ) from error
