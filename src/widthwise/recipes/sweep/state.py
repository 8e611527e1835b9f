"""sweep.json: what a sweep is made of and how far each of its runs has got."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from widthwise.errors import ConfigError, RunError
from widthwise.recipes.loader import recipe_names, recipe_path, recipe_values
from widthwise.recipes.sweep.grid import Point, combinations
from widthwise.runs import read_json, write_json
from widthwise.runs.differences import differences
from widthwise.runs.reading import damaged

NAME = "sweep.json"
"""Of the file, in the folder of a sweep."""
_FORMAT = 1


class State(StrEnum):
    """How far a run has got."""

    waiting = "waiting"
    running = "running"
    finished = "finished"
    failed = "failed"
    stopped = "stopped"


@dataclass(frozen=True, kw_only=True)
class Event:
    """A run has come into a state."""

    name: str
    """Of the run."""
    state: State
    problem: str | None = None
    """Why it failed."""


@dataclass(frozen=True, kw_only=True)
class SweepRun:
    """One run of a sweep."""

    name: str
    """Of its folder, inside that of the sweep."""
    values: Mapping[str, str]
    """Key of the recipe -> value."""
    state: State = State.waiting
    problem: str | None = None
    """Why it failed."""

    @property
    def point(self) -> Point:
        """Its combination of values."""
        return Point(name=self.name, values=self.values)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A recipe, the values of its keys, and a run for each combination."""

    recipe: str
    """Name of a recipe, or the whole path of its file."""
    recipe_values: Mapping[str, Any]
    """What the recipe said when the sweep was started."""
    keys: Mapping[str, Sequence[str]]
    """Key -> its values."""
    runs: tuple[SweepRun, ...]

    def after(self, event: Event) -> Sweep:
        """Return the sweep in which a run has come into a state."""
        runs = tuple(
            replace(run, state=event.state, problem=event.problem)
            if run.name == event.name
            else run
            for run in self.runs
        )
        return replace(self, runs=runs)

    def count(self, state: State) -> int:
        """Count the runs that are in a state."""
        return sum(run.state is state for run in self.runs)


def new_sweep(recipe: str, keys: Mapping[str, Sequence[str]]) -> Sweep:
    """Make a sweep of which nothing has been started.

    Args:
        recipe: Name of a recipe, or the path of a YAML file.
        keys: Key -> its values.

    Returns:
        The sweep, with a run for each combination.

    Raises:
        ConfigError: If there is no such recipe.
    """
    return Sweep(
        recipe=recipe if recipe in recipe_names() else str(recipe_path(recipe).resolve()),
        # As they are when they have been in a file.
        recipe_values=json.loads(json.dumps(recipe_values(recipe), default=str)),
        keys={key: list(values) for key, values in keys.items()},
        runs=tuple(SweepRun(name=p.name, values=p.values) for p in combinations(keys)),
    )


def unfinished(sweep: Sweep, folder: Path) -> list[SweepRun]:
    """List the runs that have not finished, or whose results have been deleted since."""
    return [
        run
        for run in sweep.runs
        if run.state is not State.finished or not (folder / run.name / "results.json").is_file()
    ]


def write_sweep(folder: Path, sweep: Sweep) -> None:
    """Write sweep.json, whole or not at all.

    Args:
        folder: Of the sweep.
        sweep: The sweep.

    Raises:
        RunError: If it cannot be written.
    """
    write_json(folder / NAME, {"format": _FORMAT, **asdict(sweep)})


def read_sweep(folder: Path) -> Sweep:
    """Read sweep.json.

    Args:
        folder: Of the sweep.

    Returns:
        The sweep.

    Raises:
        RunError: If there is none, or it is damaged.
    """
    path = folder / NAME
    spec = read_json(path)
    if spec is None:
        raise RunError(
            f"There is no sweep to resume in `{folder}`: it has no {NAME}.\n"
            "Hint: name its folder with `--out FOLDER`, or leave out `--resume` to start one there."
        )
    try:
        if spec["format"] != _FORMAT:
            raise ValueError(f"it has format {spec['format']}, and this version reads {_FORMAT}")
        runs = tuple(SweepRun(**{**run, "state": State(run["state"])}) for run in spec["runs"])
        return Sweep(
            recipe=spec["recipe"],
            recipe_values=dict(spec["recipe_values"]),
            keys=dict(spec["keys"]),
            runs=runs,
        )
    except (KeyError, TypeError, ValueError) as error:
        hint = "get it from a backup; every run in the folder can be resumed by itself too."
        raise damaged(path, f"{type(error).__name__}: {error}", hint) from error


def check_empty(folder: Path) -> None:
    """Check that a new sweep may write into a folder.

    Args:
        folder: It need not exist.

    Raises:
        RunError: If something is in it, or it is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise RunError(f"`{folder}` is a file.\nHint: choose a folder with `--out`.")
    # Hidden files are the lock, and what a start killed before its first file has left. A sweep
    # that could not start, for want of a cluster, has left its own file only.
    there = [path for path in folder.glob("*") if not path.name.startswith(".")]
    if any(path.name != NAME for path in there):
        if (folder / NAME).is_file():
            raise RunError(
                f"There is a sweep in `{folder}` already.\n"
                "Hint: `--resume` goes on with it; `--out FOLDER` starts one elsewhere."
            )
        raise RunError(
            f"The folder `{folder}` is not empty.\n"
            "Why: a sweep would mix its runs with what is there.\n"
            "Hint: choose another one with `--out FOLDER`."
        )


def check_same(
    folder: Path, there: Sweep, *, recipe: str | None, keys: Mapping[str, Sequence[str]]
) -> None:
    """Check that a sweep is resumed as it was started.

    Args:
        folder: Of the sweep, for messages.
        there: The sweep that is resumed.
        recipe: What was given now, if anything.
        keys: Key -> its values, if any were given now.

    Raises:
        ConfigError: If recipe or values are others. Each difference is named.
    """
    wanted = there.recipe if recipe is None else recipe
    now = new_sweep(wanted, keys or there.keys)
    found = [
        *differences({"RECIPE": there.recipe}, {"RECIPE": now.recipe}),
        *differences(_listed(there.keys), _listed(now.keys), ""),
    ]
    if not found:
        found = differences(there.recipe_values, now.recipe_values)
    if found:
        width = max(len(difference.key) for difference in found)
        lines = "\n".join(f"    {d.key:<{width}}  {d.there!r} -> {d.now!r}" for d in found)
        raise ConfigError(
            f"The sweep in `{folder}` was started otherwise (there -> now):\n{lines}\n"
            "Why: all runs of a sweep differ in its keys only.\n"
            "Hint: `--resume` needs no other words than `--out`. Start another sweep with another "
            "`--out`; `widthwise compare` puts the runs of both together."
        )


def _listed(keys: Mapping[str, Sequence[str]]) -> dict[str, str]:
    return {key: ",".join(values) for key, values in keys.items()}
