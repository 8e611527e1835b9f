"""Times of layers in a file: one per description of machine and engine."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from widthwise.files import CACHE_VARIABLE, cache_folder, read_ordinary, write_atomically

_FORMAT = 1
_LARGEST = 64 * 2**20
"""Bytes. A thousand layers take less than a hundredth of this."""


class Store:
    """Milliseconds by the key of a call, read from a file and written back.

    A file that cannot be read counts as empty, and one that cannot be written is not: measuring
    goes on, with a warning.

    Args:
        description: What the times depend on; another one is another file.
        folder: Where files are; `cache_folder` by default.
    """

    def __init__(self, description: Mapping[str, Any], folder: Path | None = None) -> None:
        text = json.dumps(description, sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        self.path = (cache_folder() if folder is None else folder) / "latency" / f"{name}.json"
        self._description = dict(description)
        self.times: dict[str, float] = self._read(warn=True)

    def add(self, times: Mapping[str, float]) -> None:
        """Take in times, and write all.

        Args:
            times: Milliseconds by key.
        """
        # Another process may have measured meanwhile.
        self.times = {**self._read(warn=False), **self.times, **times}
        data = {"format": _FORMAT, "measured_on": self._description, "milliseconds": self.times}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(self.path, json.dumps(data, indent=1) + "\n")
        except OSError as error:
            warnings.warn(
                f"Times of layers are not kept: `{self.path}` cannot be written ({error}). "
                f"Set {CACHE_VARIABLE} to a folder that can.",
                stacklevel=2,
            )

    def _read(self, *, warn: bool) -> dict[str, float]:
        try:
            data = json.loads(read_ordinary(self.path, most=_LARGEST))
            times = {str(key): float(value) for key, value in data["milliseconds"].items()}
            good = data["format"] == _FORMAT and all(
                math.isfinite(value) and value > 0 for value in times.values()
            )
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
            good = False
        if good:
            return times
        if warn:
            warnings.warn(
                f"`{self.path}` holds no times of layers that can be read; they are measured anew.",
                stacklevel=3,
            )
        return {}
