"""The trained narrow network of a run folder as a file."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import Any

from widthwise.errors import RunError
from widthwise.export.checking import Exported
from widthwise.export.onnx import to_onnx
from widthwise.export.torch_export import to_torch_export
from widthwise.models import resolve
from widthwise.network.parts import InParts
from widthwise.plans import Plan
from widthwise.runs import read_config, read_json
from widthwise.runs.results import read_results
from widthwise.runs.tags import tag


class Format(Enum):
    """What kind of file."""

    onnx = "onnx"
    """ONNX, for onnxruntime, TensorRT, OpenVINO and others."""
    torch_export = "torch_export"
    """PyTorch's exported program, for `torch.export.load` and AOTInductor."""


_SUFFIXES = {Format.onnx: ".onnx", Format.torch_export: ".pt2"}


def export_run(folder: Path, kind: Format, path: Path | None = None) -> tuple[Exported, ...]:
    """Write the network that a run has found and trained: as one file, or one per part.

    A network is written in parts if it says that it is used so, see `widthwise.network.parts`.

    Args:
        folder: A run folder.
        kind: What to write.
        path: The file; named by the network's tag, in the run folder, if not given. Parts have
            their names after it: ``NAME-PART.onnx``.

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
    network = spec.build()
    if not isinstance(network, InParts):
        return (write(network, spec.example(), target, metadata=facts),)
    return tuple(
        write(
            part.module,
            dict(part.inputs),
            target.with_stem(f"{target.stem}-{name}"),
            metadata=facts | {"part": name},
            unbatched=part.unbatched,
        )
        for name, part in network.parts().items()
    )


def metadata(folder: Path) -> dict[str, str]:
    """Collect what a program that runs the network has to know about it.

    Args:
        folder: A run folder with a trained network.

    Returns:
        Texts; lists in them are JSON. Besides what the run knows of the network, what its task has
        written into facts.json, such as class names, and every measure by its name.

    Raises:
        RunError: If a file of the run is damaged.
        PlanError: If the plan is.
    """
    config = read_config(folder)
    plan = Plan.load(folder / "plan.json")
    results = read_results(folder)
    task = read_json(folder / "facts.json") or {}
    measured = {} if results is None else results.found.measures
    return {
        "name": tag(config, macs_fraction=plan.macs() / plan.full_macs),
        "model": config["model"]["name"],
        "method": config["method"]["name"],
        "task": config["task"]["name"],
        "seed": str(config["seed"]),
        "macs": str(plan.macs()),
        "full_macs": str(plan.full_macs),
        "params": str(plan.params()),
        "widths": json.dumps(plan.widths),
        "widthwise": plan.versions["widthwise"],
        **{key: _text(value) for key, value in task.items()},
        **{name: str(value) for name, value in measured.items()},
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
