"""Runs of a sweep on a Ray cluster: each is a task that starts the process on some machine."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from widthwise.errors import ConfigError
from widthwise.recipes.config import SearchRecipe
from widthwise.recipes.sweep.job import HEADER, Job, ended
from widthwise.recipes.sweep.local import Stopping
from widthwise.recipes.sweep.state import Event, State

_WAIT = 0.5
"""Seconds between two looks at the cluster."""
_GRACE = 20.0
"""Seconds that tasks have to end by themselves."""
_RETRIES = 2
"""How often a run goes on elsewhere when its machine is lost."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one run takes of a cluster."""

    cpus: int
    gpus: int


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A cluster that this process is connected to."""

    nodes: tuple[Resources, ...]
    """What each of its machines has."""

    def needed(self, recipe: SearchRecipe) -> Resources:
        """Say what a run takes.

        Args:
            recipe: Of the run.

        Returns:
            Its threads as CPUs, or all those of the smallest machine where it names none; its
            devices as GPUs, if it may use GPUs and the cluster has some.
        """
        hardware = recipe.hardware
        has_gpus = any(node.gpus for node in self.nodes)
        wants = hardware.accelerator in ("gpu", "cuda") or (
            hardware.accelerator == "auto" and has_gpus
        )
        cpus = recipe.threads or min((node.cpus for node in self.nodes if node.cpus), default=1)
        return Resources(cpus=cpus, gpus=hardware.devices if wants else 0)

    def notes(self, resources: Resources) -> list[str]:
        """Say what the user should know about runs that take so much."""
        said = [
            f"Cluster: {len(self.nodes)} machine{'s' if len(self.nodes) != 1 else ''}, "
            f"{sum(node.cpus for node in self.nodes)} CPUs, "
            f"{sum(node.gpus for node in self.nodes)} GPUs; a run takes "
            f"{resources.cpus} CPUs (`--threads`) and {resources.gpus} GPUs "
            "(`--hardware.devices`).",
            "Results have to lie in a folder that all machines of the cluster share.",
        ]
        if not any(
            node.cpus >= resources.cpus and node.gpus >= resources.gpus for node in self.nodes
        ):
            said.append("No machine of the cluster has so much: runs wait until one joins.")
        return said


def check_ray() -> None:
    """Check that Ray can be imported.

    Raises:
        ConfigError: If it is not installed.
    """
    if importlib.util.find_spec("ray") is None:
        raise ConfigError(
            "`--cluster ray` needs the package `ray`, which is not installed.\n"
            "Hint: `pip install 'widthwise[ray]'`; `--jobs N` runs several at a time on this "
            "machine without it."
        )


def connect() -> Cluster:
    """Connect to the cluster that RAY_ADDRESS names or that runs here, or start one here.

    Returns:
        The cluster.

    Raises:
        ConfigError: If it cannot be reached.
    """
    import ray

    try:
        ray.init(log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"No Ray cluster can be reached: {str(error).strip().splitlines()[0]}\n"
            "Hint: set RAY_ADDRESS to `HOST:PORT` of its head, or unset it to start one here."
        ) from error
    alive = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Cluster(
        nodes=tuple(
            Resources(cpus=int(each.get("CPU", 0)), gpus=int(each.get("GPU", 0))) for each in alive
        )
    )


def disconnect() -> None:
    """Let go of the cluster; one that was started here ends."""
    import ray

    ray.shutdown()


def run_on_ray(
    jobs: Sequence[Job], *, resources: Sequence[Resources], stopping: Stopping
) -> Generator[Event]:
    """Run processes on the cluster that `connect` has found, as many at a time as fit.

    One that fails does not stop the others. However this ends, none of them is left running.

    Args:
        jobs: In the order to start them; their paths are absolute.
        resources: What each takes.
        stopping: Asked all the time.

    Yields:
        When a run has started, finished, failed or been stopped.
    """
    import ray

    seen = {job.name: _size(job.log) for job in jobs}
    tasks: dict[Any, Job] = {}
    begun: set[str] = set()
    try:
        for job, needed in zip(jobs, resources, strict=True):
            work = ray.remote(_work(needed.cpus))
            options = work.options(
                num_cpus=needed.cpus,
                num_gpus=needed.gpus,
                max_retries=_RETRIES,
                name=job.name,
            )
            task = options.remote(
                list(job.command), str(job.folder), str(job.log), str(Path.cwd()), _variables()
            )
            tasks[task] = job
        while tasks and not stopping():
            done, _ = ray.wait(list(tasks), timeout=_WAIT)
            for job in tasks.values():
                # A task says nothing before it ends, but its log does.
                if job.name not in begun and _size(job.log) > seen[job.name]:
                    begun.add(job.name)
                    yield Event(name=job.name, state=State.running)
            for task in done:
                yield _ended(tasks.pop(task), task)
    finally:
        for task in tasks:
            ray.cancel(task)
        left, waited = list(tasks), 0.0
        while left and waited < _GRACE and stopping() < 2:
            _, left = ray.wait(left, num_returns=len(left), timeout=_WAIT)
            waited += _WAIT
        for task in left:
            ray.cancel(task, force=True)
    for job in tasks.values():
        if job.name in begun:
            yield Event(name=job.name, state=State.stopped)


def _ended(job: Job, task: Any) -> Event:
    import ray

    try:
        code, problem = ray.get(task)
    except ray.exceptions.RayError as error:
        # Of a machine or a process that was lost; what a run itself does is in its exit code.
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return Event(
            name=job.name,
            state=State.failed,
            problem=f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}",
        )
    if problem is not None:
        return Event(name=job.name, state=State.failed, problem=problem)
    return ended(job, code)


def _variables() -> dict[str, str]:
    """Environment variables of this process that runs elsewhere need too."""
    return {name: value for name, value in os.environ.items() if name.startswith("WIDTHWISE_")}


def _size(log: Path) -> int:
    return log.stat().st_size if log.is_file() else 0


def _work(threads: int) -> Callable[..., tuple[int, str | None]]:
    """Make the function that runs on some machine of the cluster.

    Ray sends a function inside of another by value: the machine needs Widthwise for the process
    that is started, but not in order to start it.

    Args:
        threads: Of the process.

    Returns:
        What runs a command and returns its exit code, and what was in the way if anything was.
    """
    begin = HEADER

    def work(
        command: list[str], folder: str, log: str, here: str, variables: dict[str, str]
    ) -> tuple[int, str | None]:
        import os
        import shlex
        import signal
        import socket
        import subprocess
        import sys
        import time
        from pathlib import Path

        # A request to stop comes as an interrupt, which is ignored in what a shell has started in
        # the background, and that may be the cluster.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        shared = Path(log).parent
        if not (shared / "sweep.json").is_file():
            return 1, (
                f"`{shared}` is not on the machine `{socket.gethostname()}`: results have to lie "
                "in a folder that all machines share"
            )
        line = [sys.executable, *command[1:]]
        if (Path(folder) / "config.yaml").is_file():
            line.append("--resume")
        with Path(log).open("ab") as file:
            file.write(f"{begin}{shlex.join(line)}\n".encode())
            file.flush()
            process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                cwd=here if Path(here).is_dir() else None,
                env={**os.environ, **variables, "OMP_NUM_THREADS": str(threads)},
                process_group=0,
            )
        try:
            # Not `wait`, which such an interrupt does not end.
            while process.poll() is None:
                time.sleep(0.1)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGTERM)
                try:
                    process.wait(15)
                except subprocess.TimeoutExpired:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
        return process.returncode, None

    return work
