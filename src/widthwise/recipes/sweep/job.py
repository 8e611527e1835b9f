"""One run of a sweep as a process: its command, its log, and what the log says went wrong."""

from __future__ import annotations

import re
import shlex
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from widthwise.recipes.sweep.grid import Point
from widthwise.recipes.sweep.state import Event, State

_ERROR = re.compile(r"^[\w.]*(?:Error|Exception|Interrupt|Exit)\b")
_TAIL = 1 << 16
"""Bytes at the end of a log that are looked at."""
HEADER = "$ "
"""What the command stands behind, in a log: an attempt begins there."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """A process to run."""

    name: str
    """Of the run."""
    command: tuple[str, ...]
    """Without ``--resume``."""
    folder: Path
    """Of the run."""
    log: Path
    """What it prints is added to it."""

    def line(self) -> list[str]:
        """Return the command that starts the run, or goes on with it if it was started."""
        # Written first by every run, and what it needs in order to be resumed.
        started = (self.folder / "config.yaml").is_file()
        return [*self.command, *(["--resume"] if started else [])]


def search_job(recipe: str, point: Point, out: Path, *, python: str = sys.executable) -> Job:
    """Make the process that runs one combination.

    Args:
        recipe: Name of a recipe, or the path of a YAML file.
        point: The combination.
        out: Folder of the sweep.
        python: Interpreter that runs it.

    Returns:
        A ``widthwise search`` into a folder of its own, its log beside it: in the folder it would
        be in the way of the run's own check that nobody else has written there.
    """
    folder = out / point.name
    # -P: no file of the current folder may stand in for a library, as with `widthwise` itself.
    command = [python, "-P", "-m", "widthwise", "search", recipe, "--out", str(folder)]
    return Job(
        name=point.name,
        command=(*command, *point.words()),
        folder=folder,
        log=out / f"{point.name}.log",
    )


def header(line: list[str]) -> str:
    """Write what an attempt begins with in a log."""
    return f"{HEADER}{shlex.join(line)}\n"


def ended(job: Job, code: int) -> Event:
    """Say how a run has ended.

    Args:
        job: Of the run.
        code: Its exit code; the number of the signal that has killed it, with a minus.

    Returns:
        What happened; of a failure, the last line of the log that is an error.
    """
    if code == 0:
        return Event(name=job.name, state=State.finished)
    said = last_error(job.log)
    if code < 0:
        name = signal.Signals(-code).name
        # The system kills so when memory is short, and a log says nothing of it.
        hint = ", by the system if memory was short" if name == "SIGKILL" else ""
        said = f"killed ({name}{hint})"
    return Event(name=job.name, state=State.failed, problem=said or f"exit code {code}")


def last_error(log: Path) -> str | None:
    """Find the last error in the last attempt of a log.

    Args:
        log: The file.

    Returns:
        Its first line; the last line of all if none is an error; None if nothing was printed.
    """
    lines = _last_attempt(log)
    errors = [line for line in lines if _ERROR.match(line)]
    return next(iter([*errors[::-1], *lines[::-1]]), None)


def last_line(log: Path) -> str:
    """Return what a run has printed last; empty if it has printed nothing yet."""
    return next(iter(_last_attempt(log)[::-1]), "")


def _last_attempt(log: Path) -> list[str]:
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return []
    attempt = text.rpartition(f"\n{HEADER}")[2] if f"\n{HEADER}" in text else text
    lines = [line.strip() for line in attempt.splitlines()]
    # The first line is the command itself, unless it lies farther back.
    begins = attempt is not text or text.startswith(HEADER)
    return [line for line in lines[1 if begins else 0 :] if line]
