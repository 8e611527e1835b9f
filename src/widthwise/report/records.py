"""What the report knows: the files of a run folder, read once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from widthwise.errors import RunError
from widthwise.measures import Measure
from widthwise.runs import read_config, read_json, read_metrics
from widthwise.runs.reading import damaged
from widthwise.runs.results import ArmResult, Results, read_results

RESUME = "Hint: `widthwise search RECIPE --out FOLDER --resume` goes on with an unfinished run."
"""What to do about a run that has not finished."""


@dataclass(frozen=True, kw_only=True)
class Importance:
    """How important the units of a network were to a search, after one epoch."""

    units: int
    """How many could be removed."""
    values: list[float]
    """Descending; evenly spaced quantiles of all units."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What one network does with one test item."""

    title: str
    caption: str
    png: bytes


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Curves of all networks over the test items; see `widthwise.tasks.base.Chart`."""

    title: str
    across: str
    up: str
    places: list[float]
    lines: dict[str, list[float]]


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What the networks take for one test item."""

    item: list[int]
    """Its shape, with a batch of one."""
    threads: int
    device: str
    networks: dict[str, dict[str, Any]]
    """Title -> ``milliseconds`` with a ``median``, and ``peak_bytes``; None where unknown."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One finished run, as plain values."""

    name: str
    config: dict[str, Any]
    environment: dict[str, Any]
    results: Results
    epochs: list[dict[str, str]]
    """Lines of metrics.csv."""
    checks: list[dict[str, Any]]
    """Comparisons of the cost with the budget during the search."""
    importance: list[Importance]
    """One per epoch of the search."""
    samples: list[list[Picture]]
    """A row per test item, a column per network."""
    speed: Speed | None = None
    """Where it was measured."""
    curves: tuple[Curves, ...] = ()
    """Of tasks that have some."""

    @property
    def found(self) -> ArmResult:
        """The found network."""
        return self.results.found

    def lines(self, stage: str) -> list[dict[str, str]]:
        """Give the lines of metrics.csv of one stage, one per epoch."""
        return [line for line in self.epochs if line["stage"] == stage]

    def searched(self) -> list[dict[str, str]]:
        """Give the lines of metrics.csv of the search; none if nothing was trained in it."""
        before = self.found.before
        return [] if before is None else self.lines(before.stage)

    def curve(self, stage: str, measure: Measure) -> list[float]:
        """Give a measure after every epoch of a stage."""
        return [float(line[f"test_{measure.name}"]) for line in self.lines(stage)]


def missing_run(folder: Path) -> str | None:
    """Say why there is no finished run in a folder; None if there is one."""
    if (folder / "results.json").is_file():
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
        RunError: If there is no finished run in the folder, or a file of it is damaged.
    """
    results = read_results(folder)
    if results is None:
        raise RunError(f"Nothing to report in `{folder}`: {missing_run(folder)}.\n{RESUME}")
    config = read_config(folder)
    lacks = [key for key in ("model", "task", "method", "seed") if key not in config]
    if lacks:
        hint = "get it from a backup; a run keeps the recipe it was started with."
        raise damaged(folder / "config.yaml", f"it lacks `{'`, `'.join(lacks)}`", hint)
    before = results.found.before
    stage = folder / "stages" / (before.stage if before is not None else results.found.arm)
    return RunRecord(
        name=folder.resolve().name,
        config=config,
        environment=read_json(folder / "environment.json") or {},
        results=results,
        epochs=_measured(folder, results),
        checks=read_json(stage / "history.json") or [],
        importance=[_importance(path) for path in sorted(stage.glob("importance/*.json"))],
        samples=_samples(folder / "samples"),
        speed=_speed(folder / "speed.json"),
        curves=_curves(folder / "charts.json"),
    )


def _measured(folder: Path, results: Results) -> list[dict[str, str]]:
    lines = read_metrics(folder)
    columns = ["stage", "epoch", "step", *(f"test_{m.name}" for m in results.measures)]
    lacks = [column for column in columns if lines and column not in lines[0]]
    if lacks:
        hint = "get it from a backup."
        raise damaged(folder / "metrics.csv", f"it has no column `{'`, `'.join(lacks)}`", hint)
    return lines


def _speed(path: Path) -> Speed | None:
    known = read_json(path)
    try:
        return None if known is None else Speed(**known)
    except TypeError as error:
        raise damaged(path, error, "delete it; one table of the report is left out.") from error


def _curves(path: Path) -> tuple[Curves, ...]:
    try:
        return tuple(Curves(**chart) for chart in read_json(path) or [])
    except TypeError as error:
        raise damaged(path, error, "delete it; some curves of the report are left out.") from error


def _importance(path: Path) -> Importance:
    try:
        return Importance(**read_json(path))  # type: ignore[arg-type]
    except TypeError as error:
        raise damaged(path, error, "delete it; one curve of the report is left out.") from error


def _samples(folder: Path) -> list[list[Picture]]:
    """Read the pictures; one that was deleted leaves its row out."""
    rows = read_json(folder / "samples.json") or []
    return [
        [
            Picture(
                title=sample["title"],
                caption=sample["caption"],
                png=(folder / sample["file"]).read_bytes(),
            )
            for sample in row
        ]
        for row in rows
        if all((folder / sample["file"]).is_file() for sample in row)
    ]
