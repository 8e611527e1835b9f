"""The job of ``widthwise bench``: networks of a command line, measured side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from widthwise.errors import ConfigError
from widthwise.latency.device import machine
from widthwise.latency.engines import session
from widthwise.latency.side_by_side import Measured, Subject
from widthwise.models import resolve
from widthwise.network.inputs import Inputs
from widthwise.runs import read_config

_TYPES = {
    "tensor(float)": torch.float32,
    "tensor(float16)": torch.float16,
    "tensor(double)": torch.float64,
    "tensor(int64)": torch.int64,
    "tensor(int32)": torch.int32,
    "tensor(bool)": torch.bool,
    "tensor(uint8)": torch.uint8,
}


def subjects_of(name: str, shape: Sequence[int] | None) -> list[Subject]:
    """Find the networks that a word of the command line names.

    Args:
        name: A MODEL, a run folder, or an ONNX file.
        shape: Shape of the inputs, batch in front; None for the network's own.

    Returns:
        One network; of a run folder the full one and the one that was found.

    Raises:
        ConfigError: If there is no such network.
        RunError: If the run folder is damaged.
        PlanError: If its plan is.
    """
    if Path(name).suffix == ".onnx":
        return [Subject(name=name, network=Path(name), example=_of_file(Path(name), shape))]
    spec = resolve(name)
    example = Inputs.of(spec.example(shape))
    torch.manual_seed(0)
    if not (Path(name) / "plan.json").is_file():
        return [Subject(name=name, network=spec.build().eval(), example=example)]
    model = read_config(Path(name))["model"]
    full = resolve(model["name"]).build(**model["options"])
    return [
        Subject(name=f"{name} (full)", network=full.eval(), example=example),
        Subject(name=f"{name} (found)", network=spec.build().eval(), example=example),
    ]


def _of_file(path: Path, shape: Sequence[int] | None) -> Inputs:
    if not path.is_file():
        raise ConfigError(f"There is no file `{path}`.")
    entries = session(path, 1).get_inputs()
    tensors = []
    for entry in entries:
        if entry.type not in _TYPES:
            raise ConfigError(
                f"`{path}` takes `{entry.type}` as its input `{entry.name}`.\n"
                f"Why: inputs are made up, of one of {', '.join(sorted(_TYPES))}."
            )
        sizes = list(shape) if shape is not None and len(entries) == 1 else list(entry.shape)
        # The batch may be any; no other size can be guessed.
        sizes = [1 if isinstance(size, str) and not dim else size for dim, size in enumerate(sizes)]
        free = [size for size in sizes if not isinstance(size, int)]
        if free:
            raise ConfigError(
                f"`{path}` leaves sizes of its input `{entry.name}` open: {entry.shape}.\n"
                "Hint: give the shape to measure with --input, such as --input 1,3,224,224."
            )
        tensors.append(torch.zeros(sizes, dtype=_TYPES[entry.type]))
    return Inputs.of(tuple(tensors))


def record(found: Sequence[Measured]) -> dict[str, Any]:
    """Return what was measured as plain values for JSON, with the machine it was measured on.

    Args:
        found: From `side_by_side`.

    Returns:
        Milliseconds, inputs per second and bytes, per network and setting.
    """
    return {
        "machine": machine(),
        "measured": [
            {
                "network": each.name,
                "engine": each.setting.engine.value,
                "batch": each.setting.batch,
                "threads": each.setting.threads,
                "device": each.setting.device,
                "milliseconds": None if each.times is None else asdict(each.times),
                "inputs_per_second": each.throughput,
                "peak_bytes": each.peak_bytes,
                "why_not": each.why_not,
            }
            for each in found
        ],
    }
