"""The run folder: everything a run leaves behind, readable by people and by other programs.

::

    config.yaml         the complete recipe, as resolved
    environment.json    versions, machine, command
    facts.json          what a program that runs the network has to know, such as class names
    metrics.csv         one line per epoch of every stage
    results.json        the measures, and the table of results
    plan.json           the plan that was found ...
    model.safetensors   ... and the trained weights of the network at those widths
    stages/NAME/        what each finished stage hands on; `result.json` marks it as finished
    checkpoints/NAME/   where an unfinished stage goes on; gone when it has finished
    samples/            what the networks do, as pictures, and `samples.json` about them
    figures/, report.html
"""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import yaml

from widthwise.errors import ConfigError, RunError
from widthwise.runs.differences import differences
from widthwise.runs.locking import hold_folder
from widthwise.runs.processes import is_leader, wait_for_all
from widthwise.runs.reading import read_config, read_json, read_metrics
from widthwise.runs.writing import (
    LOCK_NAME,
    remove_unfinished,
    write_file,
    write_json,
)

_SETTINGS = ("config.yaml", "environment.json")
_FACTS = "facts.json"


class RunFolder:
    """One run folder, held by this process until it is closed or ends.

    Of a run with several processes the leader holds it and writes; what the others write through
    this class is not written, and they read what the leader writes.

    Args:
        path: The folder. It is made if it does not exist.
        config: The complete recipe, of plain values only.
        environment: What goes into environment.json.
        resume: Go on with a run that is there, instead of refusing a folder that is not empty.

    Raises:
        RunError: If the folder is in use, cannot be written, is not empty (without ``resume``), or
            holds no run (with ``resume``).
        ConfigError: If the run to resume has another configuration.
    """

    def __init__(
        self,
        path: Path,
        *,
        config: Mapping[str, Any],
        environment: Mapping[str, Any],
        resume: bool = False,
    ) -> None:
        self.path = path
        self._lock: IO[str] | None = None
        if not is_leader():
            return
        _check_state(path, resume=resume)
        self._lock = hold_folder(path)
        try:
            if resume:
                _check_config(path, config)
                remove_unfinished([path, *path.glob("*/"), *path.glob("*/*/")])
                for result in path.glob("stages/*/result.json"):
                    self._drop_checkpoints(result.parent.name)
            else:
                # First, because its presence says that there is a run to resume.
                write_file(path / "config.yaml", yaml.safe_dump(dict(config), sort_keys=False))
            if not (resume and (path / "environment.json").exists()):
                write_json(path / "environment.json", dict(environment))
        except BaseException:
            self.close()
            raise

    def discard(self) -> None:
        """Remove a folder in which nothing was done yet; one with anything else in it stays."""
        there = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        if is_leader() and there <= {*_SETTINGS, _FACTS, LOCK_NAME}:
            self.close()
            shutil.rmtree(self.path)

    def close(self) -> None:
        """Let other processes use the folder."""
        if self._lock is not None:
            self._lock.close()

    def stage(self, name: str) -> Path:
        """Name the folder of what a stage hands on.

        Args:
            name: Name of the stage.

        Returns:
            A path that need not exist yet.
        """
        return self.path / "stages" / name

    def result(self, stage: str) -> dict[str, Any] | None:
        """Read the result of a stage.

        Args:
            stage: Name of the stage.

        Returns:
            What was passed to `finish_stage`, or None if the stage has not finished.
        """
        return read_json(self.stage(stage) / "result.json")

    def finish_stage(self, stage: str, result: Mapping[str, Any]) -> None:
        """Mark a stage as finished. Everything it hands on must be on disk before.

        Its checkpoints are removed: nothing goes on from them any more.

        Args:
            stage: Name of the stage.
            result: Plain values.
        """
        if is_leader():
            write_json(self.stage(stage) / "result.json", dict(result))
            self._drop_checkpoints(stage)
        wait_for_all()

    def write(self, path: Path, content: str | bytes) -> None:
        """Write a file of the run; see `write_file`.

        Args:
            path: The file, inside of the folder.
            content: Text, or bytes.
        """
        if is_leader():
            write_file(path, content)

    def write_json(self, path: Path, content: Any) -> None:
        """Write plain values as JSON; see `write`."""
        if is_leader():
            write_json(path, content)

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """Add the line of one epoch to metrics.csv.

        Lines of the same stage from this epoch on are replaced: they were written by a process
        that was killed before it saved that epoch.

        Args:
            row: Column -> value, None where there is none; ``stage`` and ``epoch`` are among them.
                The columns of the file are those of its rows, in the order they came in.
        """
        if is_leader():
            self._add_metrics(row)
        wait_for_all()

    def _add_metrics(self, row: Mapping[str, Any]) -> None:
        rows: list[Mapping[str, Any]] = [
            old
            for old in read_metrics(self.path)
            if old["stage"] != row["stage"] or int(old["epoch"]) < row["epoch"]
        ]
        rows.append({key: "" if value is None else value for key, value in row.items()})
        columns = dict.fromkeys(key for line in rows for key in line)
        table = io.StringIO()
        writer = csv.DictWriter(table, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_file(self.path / "metrics.csv", table.getvalue())

    def _drop_checkpoints(self, stage: str) -> None:
        # One that stays costs space only, and the next resume tries again.
        shutil.rmtree(self.path / "checkpoints" / stage, ignore_errors=True)


def _check_state(path: Path, *, resume: bool) -> None:
    if path.exists() and not path.is_dir():
        raise RunError(f"`{path}` is a file.\nHint: choose a folder with `--out`.")
    if resume and not (path / "config.yaml").is_file():
        raise RunError(
            f"There is no run to resume in `{path}`: it has no config.yaml.\n"
            "Hint: leave out `--resume` to start a run there."
        )
    # Hidden files are the lock, and what a start killed before its first file has left. A run that
    # was refused for its data or options has left its settings only, and may be started again.
    started = path.is_dir() and any(
        not p.name.startswith(".") and p.name not in _SETTINGS for p in path.iterdir()
    )
    if started and not resume:
        raise RunError(
            f"The run folder `{path}` is not empty.\n"
            "Why: a new run would mix its files with those that are there.\n"
            "Hint: `--resume` goes on with the run in it; `--out FOLDER` starts one elsewhere."
        )


def _check_config(path: Path, config: Mapping[str, Any]) -> None:
    there = read_config(path)
    # Through YAML and back, so that both sides have the same plain types.
    now = yaml.safe_load(yaml.safe_dump(dict(config)))
    found = differences(there, now)
    if found:
        width = max(len(difference.key) for difference in found)
        lines = "\n".join(f"    {d.key:<{width}}  {d.there!r} -> {d.now!r}" for d in found)
        raise ConfigError(
            f"The run in `{path}` was started with another configuration (there -> now):\n{lines}\n"
            "Why: a run that changed its settings on the way could not be reproduced.\n"
            "Hint: resume with the settings it was started with, or start anew with `--out FOLDER`."
        )
