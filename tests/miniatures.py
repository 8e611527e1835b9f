"""Tracking sets small enough to train on in a test: a soft pattern that crosses a dark frame."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from widthwise.data.clip_layouts import write_clip


def video(count: int, seed: int, side: int = 24) -> tuple[list[Tensor], Tensor]:
    """Frames of 120x100 pixels, and where the pattern is in each."""
    draw = torch.Generator().manual_seed(seed)
    back = functional.interpolate(torch.rand(1, 3, 10, 12, generator=draw) * 120, (100, 120))[0]
    pattern = torch.rand(1, 3, 6, 6, generator=draw) * 255
    pattern = functional.interpolate(pattern, (side, side), mode="bilinear")[0]
    frames, boxes = [], []
    for number in range(count):
        frame, x, y = back.clone(), 15 + 4 * number, 30 + 2 * number
        frame[:, y : y + side, x : x + side] = pattern
        frames.append(frame.clamp(0, 255).to(torch.uint8))
        boxes.append([x, y, side, side])
    return frames, torch.tensor(boxes).double()


def write_lasot(root: Path, *, clips: int = 3, frames: int = 6) -> Path:
    """As LaSOT lies: a folder per class, and the list of the test set beside them."""
    for number in range(1, clips + 1):
        images, boxes = video(frames, number)
        write_clip(root / "thing" / f"thing-{number}", images, boxes)
    (root / "testing_set.txt").write_text(f"thing-{clips}\n")
    return root


def write_got10k(root: Path, *, clips: int = 2, frames: int = 6) -> Path:
    """As the training part of GOT-10k lies."""
    for number in range(1, clips + 1):
        folder = root / f"GOT-10k_Train_{number:06}"
        folder.mkdir(parents=True)
        images, boxes = video(frames, 100 + number)
        for place, image in enumerate(images, 1):
            pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy())
            Image.fromarray(pixels).save(folder / f"{place:08}.jpg")
        # Its files count from 1.
        rows = (boxes + torch.tensor([1.0, 1, 0, 0])).tolist()
        lines = "".join(",".join(f"{each:.4f}" for each in row) + "\n" for row in rows)
        (folder / "groundtruth.txt").write_text(lines)
        for name, value in (("absence", 0), ("cut_by_image", 0), ("cover", 8)):
            (folder / f"{name}.label").write_text(f"{value}\n" * frames)
        (folder / "meta_info.ini").write_text("[METAINFO]\n")
    return root


def write_coco(root: Path) -> tuple[Path, Path]:
    """Two images and the JSON with a box in each."""
    (root / "train2017").mkdir(parents=True)
    images, annotations = [], []
    for number in range(2):
        frames, boxes = video(1, 200 + number)
        pixels = np.ascontiguousarray(frames[0].permute(1, 2, 0).numpy())
        Image.fromarray(pixels).save(root / "train2017" / f"{number}.jpg")
        images.append({"id": number, "file_name": f"{number}.jpg"})
        annotations.append({"image_id": number, "bbox": boxes[0].tolist(), "iscrowd": 0})
    path = root / "instances_train2017.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return root / "train2017", path
