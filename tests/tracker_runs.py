"""Run folders of a tracker as a finished run leaves them, without training; and a clip."""

from __future__ import annotations

from pathlib import Path

import torch
import yaml
from torch import Tensor

import widthwise as ww
from widthwise.models.siamese import SiameseTracker
from widthwise.recipes.config import plain
from widthwise.recipes.loader import load_recipe
from widthwise.runs import write_file, write_json


def make_tracker_run(folder: Path) -> Path:
    """Write a run of the task `tracking`: a small network at half its MACs, fresh weights.

    Args:
        folder: Where to.

    Returns:
        The folder.
    """
    torch.manual_seed(0)
    widths = (4, 4, 4, 8, 8)
    network = SiameseTracker(widths).eval()
    with torch.no_grad():
        network.scale.fill_(0.02)
        network.shift.fill_(-0.3)
    crops = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 128, 128)
    plan = ww.plan(ww.trace(network, crops), score=ww.scores.L1(), budget=ww.Macs(0.5))
    ww.save(ww.shrink(network, plan), plan, folder)
    recipe = plain(load_recipe("tracking_demo", ["--model.options.widths", str(list(widths))]))
    write_file(folder / "config.yaml", yaml.safe_dump(recipe))
    write_json(folder / "facts.json", {"data": "rendered", "template_side": 64})
    return folder


def moving_square(steps: int, *, side: int = 24) -> tuple[list[Tensor], Tensor]:
    """A checked square over noise that goes right by 3 and down by 2 pixels per frame.

    Args:
        steps: Number of frames, ``[3, 90, 120]`` each.
        side: Of the square, in pixels.

    Returns:
        Frames and boxes.
    """
    noise = torch.Generator().manual_seed(0)
    ground = torch.randint(90, 120, (3, 90, 120), generator=noise, dtype=torch.uint8)
    square = torch.randint(0, 256, (3, side, side), generator=noise, dtype=torch.uint8)
    frames, boxes = [], []
    for step in range(steps):
        x, y = 20 + 3 * step, 20 + 2 * step
        frame = ground.clone()
        frame[:, y : y + side, x : x + side] = square
        frames.append(frame)
        boxes.append([x, y, side, side])
    return frames, torch.tensor(boxes).double()
