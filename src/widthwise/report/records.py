"""What the report knows: the files of a run folder, read once."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from widthwise.errors import RunError
from widthwise.runs import read_json, read_metrics

TITLES = {
    "search": "Search",
    "found": "Found widths",
    "full": "Full network",
    "uniform": "Uniform widths",
    "scratch": "Found widths, fresh weights",
    "l1": "L1 magnitude, one shot",
}
"""Name of a stage in a run folder -> what the report calls it."""

BEFORE_THE_CUT = {"found": "search", "l1": "l1_train"}
"""Stage that starts from a cut -> the stage that trained the full network before it."""


RESUME = "Hint: `widthwise search RECIPE --out FOLDER --resume` goes on with an unfinished run."
"""What to do about a run that has not finished."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run, as plain values."""

    name: str
    config: dict[str, Any]
    environment: dict[str, Any]
    results: dict[str, dict[str, Any]]
    """Stage -> its row of results.json, the found network first."""
    full: dict[str, Any]
    """MACs, parameters and widths of the full network."""
    search: dict[str, Any]
    """Result of the search stage."""
    epochs: list[dict[str, str]]
    """Lines of metrics.csv."""
    checks: list[dict[str, Any]]
    """Comparisons of the cost with the budget during the search."""
    latents: list[list[float]]
    """Magnitudes in descending order, one list per epoch of the search."""

    @property
    def found(self) -> dict[str, Any]:
        """The row of the found network."""
        return self.results["found"]

    def lines(self, stage: str) -> list[dict[str, str]]:
        """Give the lines of metrics.csv of one stage, one per epoch."""
        return [line for line in self.epochs if line["stage"] == stage]


def missing_run(folder: Path) -> str | None:
    """Say why there is no finished run in a folder; None if there is one."""
    if all((folder / name).is_file() for name in ("results.json", "stages/search/result.json")):
        return None
    unfinished = (folder / "config.yaml").is_file()
    return "the run in it has not finished" if unfinished else "there is no run in it"


def read_run(folder: Path) -> RunRecord:
    """Read a finished run.

    Args:
        folder: A run folder.

    Returns:
        Its record.

    Raises:
        RunError: If there is no finished run in the folder.
    """
    stage = folder / "stages" / "search"
    results, search = read_json(folder / "results.json"), read_json(stage / "result.json")
    if results is None or search is None:
        raise RunError(f"Nothing to report in `{folder}`: {missing_run(folder)}.\n{RESUME}")
    return RunRecord(
        name=folder.resolve().name,
        config=yaml.safe_load((folder / "config.yaml").read_text()),
        environment=read_json(folder / "environment.json") or {},
        results={row["stage"]: row for row in results},
        full=search["full"],
        search=search,
        epochs=read_metrics(folder),
        checks=read_json(stage / "history.json") or [],
        latents=[json.loads(p.read_text()) for p in sorted((stage / "latents").glob("*.json"))],
    )
