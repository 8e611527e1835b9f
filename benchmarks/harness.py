"""What the benchmarks share: timing with spread, and results that say where they were made."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

import widthwise as ww

RESULTS = Path(__file__).parent / "results"


def timed(
    run: Callable[[], object],
    *,
    repeats: int = 7,
    warm_up: int = 1,
    setup: Callable[[], object] | None = None,
) -> dict[str, float | int]:
    """Time a callable in wall-clock seconds.

    Args:
        run: What to time.
        repeats: Measurements that count.
        warm_up: Runs before them that do not.
        setup: Called before every run, outside the clock.

    Returns:
        Median, both quartiles and extremes in seconds, and the number of repeats.
    """
    seconds = []
    for turn in range(warm_up + repeats):
        if setup is not None:
            setup()
        start = time.perf_counter()
        run()
        if turn >= warm_up:
            seconds.append(time.perf_counter() - start)
    return spread(seconds)


def spread(seconds: list[float]) -> dict[str, float | int]:
    """Summarise measurements: median, quartiles, extremes and how many there were."""
    low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    return {
        "median_s": round(median, 4),
        "quartiles_s": [round(low, 4), round(high, 4)],
        "extremes_s": [round(min(seconds), 4), round(max(seconds), 4)],
        "repeats": len(seconds),
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def environment(*more: str) -> dict[str, Any]:
    """Describe the machine and the versions, without anything private.

    Args:
        *more: Packages to name besides those that every benchmark rests on.

    Returns:
        A record for a file of results.
    """
    packages = ("torch", "torchvision", "timm", "numpy", "scipy", "lightning", *more)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "torch_threads": torch.get_num_threads(),
        "load_average_1min": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": platform.system(),
        "python": platform.python_version(),
        "widthwise": ww.__version__,
        **{name: metadata.version(name) for name in packages},
    }


def searched(recipe: str, folder: Path, settings: Sequence[str]) -> Path:
    """Make a run of a recipe, or go on with it where it was stopped.

    Args:
        recipe: Its name.
        folder: Of the run. Nothing is done if it is finished.
        settings: Options of `widthwise search`, such as ``["--seed", "1"]``.

    Returns:
        The folder.

    Raises:
        CalledProcessError: If the run fails.
    """
    if not (folder / "results.json").is_file():
        command = [sys.executable, "-m", "widthwise", "search", recipe, "--out", str(folder)]
        resume = ["--resume"] if (folder / "config.yaml").is_file() else []
        subprocess.run([*command, *settings, *resume], check=True)
    return folder


def arm_of(folder: Path, stage: str) -> dict[str, Any]:
    """Return what a finished run says of one of its networks."""
    facts = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    found: dict[str, Any] = next(each for each in facts["arms"] if each["arm"] == stage)
    return found


def write(name: str, results: dict[str, Any]) -> Path:
    """Write a result file and return its path."""
    path = RESULTS / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    text = json.dumps({"environment": environment(), "results": results}, indent=2)
    path.write_text(text + "\n", encoding="utf-8")
    return path
