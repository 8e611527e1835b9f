"""Runs of a sweep as processes of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass

from widthwise.recipes.sweep.job import Job, ended, header
from widthwise.recipes.sweep.state import Event, State

Stopping = Callable[[], int]
"""How often the user has asked to stop: 0, 1, or more by one who does not want to wait."""

_TICK = 0.1
"""Seconds between two looks at the processes."""
_GRACE = 15.0
"""Seconds that processes have to end by themselves."""


def run_here(
    jobs: Sequence[Job], *, slots: Sequence[Mapping[str, str]], stopping: Stopping
) -> Generator[Event]:
    """Run processes, as many at a time as there are slots.

    One that fails does not stop the others. However this ends, none of them is left running.

    Args:
        jobs: In the order to start them.
        slots: What the environment of a process in each slot has besides that of this process.
        stopping: Asked all the time.

    Yields:
        When a run has started, finished, failed or been stopped.
    """
    waiting, free = deque(jobs), list(range(len(slots)))
    running: dict[int, _Child] = {}
    try:
        while (waiting or running) and not stopping():
            while waiting and free:
                job, slot = waiting.popleft(), free.pop(0)
                try:
                    running[slot] = _Child(job, _start(job, slots[slot]))
                except OSError as error:
                    free.append(slot)
                    yield Event(name=job.name, state=State.failed, problem=f"not started: {error}")
                    continue
                yield Event(name=job.name, state=State.running)
            for slot, child in list(running.items()):
                code = child.process.poll()
                if code is not None:
                    del running[slot]
                    free.append(slot)
                    yield ended(child.job, code)
            time.sleep(_TICK)
    finally:
        stopped = list(running.values())
        _stop([child.process for child in stopped], stopping)
    for child in stopped:
        finished = child.process.returncode == 0
        yield Event(name=child.job.name, state=State.finished if finished else State.stopped)


@dataclass(frozen=True)
class _Child:
    job: Job
    process: subprocess.Popen[bytes]


def _start(job: Job, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    line = job.line()
    with job.log.open("ab") as log:
        log.write(header(line).encode())
        log.flush()
        return subprocess.Popen(
            line,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            # So that Ctrl-C reaches this process alone, and what it stops are all the processes
            # that a run has started.
            process_group=0 if os.name == "posix" else None,
        )


def _stop(processes: Sequence[subprocess.Popen[bytes]], stopping: Stopping) -> None:
    until = time.monotonic() + _GRACE
    for process in processes:
        _tell(process, signal.SIGTERM)
    while any(process.poll() is None for process in processes):
        if time.monotonic() > until or stopping() > 1:
            # Nothing is lost: files are written whole or not at all.
            for process in processes:
                _tell(process, getattr(signal, "SIGKILL", signal.SIGTERM))
            break
        time.sleep(_TICK)
    for process in processes:
        process.wait()


def _tell(process: subprocess.Popen[bytes], number: int) -> None:
    if process.poll() is not None:
        return
    if os.name == "posix":
        os.killpg(process.pid, number)
    else:
        process.terminate()
