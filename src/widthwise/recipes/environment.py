"""What a result depends on besides the recipe: versions, machine, command."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from widthwise._version import __version__

_PACKAGES = ("torch", "torchvision", "lightning", "numpy", "scipy", "scikit-learn", "timm")


def environment(command: str, *, threads: int | None, precision: str) -> dict[str, Any]:
    """Describe where a run runs.

    Args:
        command: The command line that started it.
        threads: CPU threads it asked for; None for all there are.
        precision: Numbers it computes in.

    Returns:
        Plain values for environment.json.
    """
    return {
        "command": command,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "widthwise": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "packages": {name: metadata.version(name) for name in _PACKAGES},
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": threads or torch.get_num_threads(),
        "precision": precision,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _commit() -> str | None:
    """The commit of Widthwise itself, where it runs from a checkout."""
    here = Path(__file__)
    # An installed copy may lie inside the checkout of something else.
    if _git("ls-files", "--error-unmatch", here.name, folder=here.parent) is None:
        return None
    return _git("describe", "--always", "--dirty", "--abbrev=12", folder=here.parent)


def _git(*arguments: str, folder: Path) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
