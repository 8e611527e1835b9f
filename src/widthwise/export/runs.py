"""The trained narrow network of a run folder as a file."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import yaml

from widthwise.data import load_dataset
from widthwise.errors import DataError, RunError
from widthwise.export.checking import Exported
from widthwise.export.onnx import to_onnx
from widthwise.export.tags import tag
from widthwise.export.torch_export import to_torch_export
from widthwise.models import resolve
from widthwise.plans import Plan
from widthwise.runs import read_json


class Format(Enum):
    """What kind of file."""

    onnx = "onnx"
    """ONNX, for onnxruntime, TensorRT, OpenVINO and others."""
    torch_export = "torch_export"
    """PyTorch's exported program, for `torch.export.load` and AOTInductor."""


_SUFFIXES = {Format.onnx: ".onnx", Format.torch_export: ".pt2"}


def export_run(folder: Path, kind: Format, path: Path | None = None) -> Exported:
    """Write the network that a run has found and trained.

    Args:
        folder: A run folder.
        kind: What to write.
        path: The file; named by the network's tag, in the run folder, if not given.

    Returns:
        What was written, and how well it agrees with PyTorch.

    Raises:
        RunError: If there is no trained network in the folder, or the file cannot be written.
        ConfigError: If packages are missing.
        TraceError: If the forward cannot be captured.
        ProofError: If the file does not compute what the network computes; it is not written.
    """
    if not (folder / "plan.json").is_file():
        raise RunError(
            f"There is no trained network in `{folder}`: it has no plan.json.\n"
            "Hint: `widthwise search RECIPE --out FOLDER --resume` goes on with an unfinished run."
        )
    spec = resolve(str(folder))
    facts = metadata(folder)
    target = path or folder / f"{facts['name']}{_SUFFIXES[kind]}"
    write = to_onnx if kind is Format.onnx else to_torch_export
    return write(spec.build(), torch.zeros(spec.input_shape), target, metadata=facts)


def metadata(folder: Path) -> dict[str, str]:
    """Collect what a program that runs the network has to know about it.

    Args:
        folder: A run folder with a trained network.

    Returns:
        Texts; lists in them are JSON. ``classes``, ``mean`` and ``std`` are left out if the data
        set is not on this machine.
    """
    config = yaml.safe_load((folder / "config.yaml").read_text())
    plan = Plan.load(folder / "plan.json")
    facts = {
        "name": tag(config, macs_fraction=plan.macs() / plan.full_macs),
        "model": config["model"]["name"],
        "method": config["method"]["name"],
        "seed": str(config["seed"]),
        "macs": str(plan.macs()),
        "full_macs": str(plan.full_macs),
        "params": str(plan.params()),
        "widths": json.dumps(plan.widths),
        "widthwise": plan.versions["widthwise"],
        "data": config["data"]["name"],
        **_classes(config["data"]),
    }
    for row in read_json(folder / "results.json") or []:
        if row["stage"] == "found":
            facts["accuracy"] = str(row["accuracy"])
    return facts


def _classes(config: dict[str, Any]) -> dict[str, str]:
    folder = config.get("folder")
    try:
        data = load_dataset(
            config["name"],
            folder=None if folder is None else Path(folder),
            image_size=config.get("image_size"),
        )
    except DataError:
        return {}
    return {
        "classes": json.dumps(list(data.classes)),
        "input": "(images - mean) / std per channel, images in 0..255",
        "mean": json.dumps(list(data.mean)),
        "std": json.dumps(list(data.std)),
    }
