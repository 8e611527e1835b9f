"""Stills with boxes in COCO's layout are clips of one frame."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from widthwise.data.clip_layouts.coco import open_stills
from widthwise.errors import DataError


def written(folder: Path, content: Any) -> tuple[Path, Path]:
    """Two images, and a JSON."""
    images = folder / "train2017"
    images.mkdir()
    for number, colour in ((7, (200, 0, 0)), (9, (0, 200, 0))):
        Image.new("RGB", (60, 40), colour).save(images / f"{number:012}.png")
    path = folder / "instances.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return images, path


def annotated(**more: Any) -> dict[str, Any]:
    """Boxes in these images: two in the second, and some that are of no use."""
    boxes = [(9, [5, 6.5, 20, 10]), (7, [0, 0, 60, 40]), (9, [1, 2, 3, 4]), (7, [5, 5, 0.4, 9])]
    return {
        "images": [{"id": each, "file_name": f"{each:012}.png"} for each in (7, 9)],
        "annotations": [
            *({"image_id": image, "bbox": box, "iscrowd": 0} for image, box in boxes),
            {"image_id": 7, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        ],
        **more,
    }


def test_every_box_is_a_clip_of_one_frame(tmp_path: Path) -> None:
    """With its own image and box; crowds and slivers are left out."""
    stills = open_stills(*written(tmp_path, annotated()))
    assert len(stills) == 3
    first, second, third = stills
    assert first.boxes.tolist() == [[5, 6.5, 20, 10]]
    assert first.images[0][:, 0, 0].tolist() == third.images[0][:, 0, 0].tolist() == [0, 200, 0]
    assert second.images[0][:, 0, 0].tolist() == [200, 0, 0]
    assert second.size == (40, 60)
    assert torch.equal(stills[-1].boxes, third.boxes)
    assert [clip.name for clip in stills[:1]] == ["000000000009.png#0"]
    with pytest.raises(IndexError):
        stills[3]


@pytest.mark.parametrize(
    "content",
    [
        '{"images": [',
        "[]",
        annotated(annotations=[{"image_id": 8, "bbox": [0, 0, 9, 9]}]),
        annotated(annotations=[{"image_id": 7, "bbox": [0, 0, 9]}]),
        annotated(annotations=[]),
    ],
    ids=["cut", "other", "no_image", "no_box", "empty"],
)
def test_other_files_are_refused(content: Any, tmp_path: Path) -> None:
    """The error names the file."""
    with pytest.raises(DataError, match=r"instances\.json"):
        open_stills(*written(tmp_path, content))


def test_images_must_be_there(tmp_path: Path) -> None:
    """A missing folder is an error at once, a missing image when it is reached."""
    images, path = written(tmp_path, annotated())
    with pytest.raises(DataError, match="not a folder"):
        open_stills(tmp_path / "elsewhere", path)
    (images / "000000000009.png").unlink()
    with pytest.raises(DataError, match=r"000000000009\.png"):
        open_stills(images, path)[0].images[0]
