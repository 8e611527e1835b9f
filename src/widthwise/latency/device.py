"""What times and memory depend on: the machine, and the versions of what runs on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path

import torch

from widthwise.latency.engines import Engine, Setting


def machine() -> dict[str, str | int | None]:
    """Describe this machine, without anything private.

    Returns:
        Plain values.
    """
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "system": platform.system(),
        "torch": torch.__version__,
        "onnxruntime": _version("onnxruntime"),
    }


def relevant(setting: Setting) -> dict[str, str | int | None]:
    """Describe what times of single layers depend on; another description is another table.

    Args:
        setting: Engine, threads and device. Batches are in the shapes of the layers.

    Returns:
        Plain values.
    """
    found = machine()
    if setting.engine is not Engine.onnxruntime:
        del found["onnxruntime"]
    if setting.device == "cpu":
        del found["gpu"]
    return {
        **found,
        "engine": setting.engine.value,
        "threads": setting.threads,
        "device": setting.device,
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
