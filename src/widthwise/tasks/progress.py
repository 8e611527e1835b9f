"""What a person sees while a run trains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """Told about what happens, in order."""

    def stage_begins(self, title: str, *, epochs: int, done: int) -> None:
        """A stage of at most so many epochs begins, after some done by an earlier process."""

    def epoch_ends(self, metrics: Mapping[str, Any]) -> None:
        """An epoch of the stage ended, with a value for every column of metrics.csv."""

    def stage_ends(self, summary: str) -> None:
        """The stage has ended."""

    def note(self, text: str) -> None:
        """Something worth a line."""
