"""How long the networks of a run take for one test item, and how much memory, in the run folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn

from widthwise.latency import Setting
from widthwise.latency.side_by_side import Subject, side_by_side
from widthwise.network.inputs import Inputs
from widthwise.runs import write_json
from widthwise.tasks.base import Task

_SECONDS = 1.0
"""On the clock, for each network."""


def write_speed(run: Path, task: Task, networks: Mapping[str, nn.Module]) -> None:
    """Write speed.json: all networks in turns, in PyTorch; nothing if the task has no such item.

    Args:
        run: The run folder.
        task: Knows what one item is.
        networks: Title -> trained network.
    """
    item = task.item()
    if item is None:
        return
    setting = Setting(
        threads=torch.get_num_threads(), device="cuda" if torch.cuda.is_available() else "cpu"
    )
    found = side_by_side(
        [
            Subject(name=title, network=network.eval(), example=Inputs.of(item))
            for title, network in networks.items()
        ],
        [setting],
        seconds=_SECONDS,
    )
    write_json(
        run / "speed.json",
        {
            "item": list(item.shape),
            "threads": setting.threads,
            "device": setting.device,
            "networks": {
                each.name: {
                    "milliseconds": None if each.times is None else asdict(each.times),
                    "peak_bytes": each.peak_bytes,
                }
                for each in found
            },
        },
    )
