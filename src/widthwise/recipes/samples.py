"""What the networks of a run do with test items: pictures and curves in the run folder."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
from PIL import Image
from torch import nn

from widthwise.runs import write_file, write_json
from widthwise.tasks.base import Task


def write_samples(run: Path, task: Task, networks: Mapping[str, nn.Module]) -> None:
    """Write samples/ROW_COLUMN.png and samples.json; nothing if the task has nothing to show.

    Args:
        run: The run folder.
        task: Knows what is worth seeing.
        networks: Title -> trained network.
    """
    folder = run / "samples"
    rows = []
    for number, row in enumerate(task.samples(networks)):
        described = []
        for place, sample in enumerate(row):
            name = f"{number}_{place}.png"
            picture = io.BytesIO()
            Image.fromarray(np.asarray(sample.image)).save(picture, format="PNG")
            write_file(folder / name, picture.getvalue())
            described.append({"title": sample.title, "caption": sample.caption, "file": name})
        rows.append(described)
    if rows:
        write_json(folder / "samples.json", rows)


def write_charts(run: Path, task: Task, networks: Mapping[str, nn.Module]) -> None:
    """Write charts.json; nothing if the task has no curves.

    Args:
        run: The run folder.
        task: Knows which.
        networks: Title -> trained network.
    """
    charts = task.charts(networks)
    if charts:
        write_json(run / "charts.json", [asdict(chart) for chart in charts])
