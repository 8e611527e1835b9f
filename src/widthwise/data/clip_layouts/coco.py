"""Stills with boxes, as COCO has them: images in one folder, and a JSON with the boxes of all."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import torch
from torch import Tensor

from widthwise.data.clips import Clip, FrameFiles
from widthwise.data.source import damaged, read_bytes
from widthwise.errors import DataError

_SMALLEST = 1.0
"""Pixels that width and height of a box have at least."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Stills(Sequence[Clip]):
    """Boxes in images, each a clip of one frame, made when it is asked for: there may be a million.

    Example:
        >>> box = torch.tensor([[5.0, 5, 20, 10]]).double()
        >>> first = np.array([0])
        >>> stills = Stills(folder=Path("images"), names=("a.jpg",), images=first, boxes=box)
        >>> len(stills), stills[0].name
        (1, 'a.jpg#0')
    """

    folder: Path
    """Of the images."""
    names: tuple[str, ...]
    """Of their files."""
    images: Any
    """Number of the image of each box, shape ``[n]``."""
    boxes: Tensor
    """float64, shape ``[n, 4]``."""

    def __len__(self) -> int:
        return len(self.boxes)

    @overload
    def __getitem__(self, number: int) -> Clip: ...

    @overload
    def __getitem__(self, number: slice) -> Sequence[Clip]: ...

    def __getitem__(self, number: int | slice) -> Clip | Sequence[Clip]:
        if isinstance(number, slice):
            return [self[each] for each in range(*number.indices(len(self)))]
        name = self.names[int(self.images[number])]
        return Clip(
            name=f"{name}#{number}",
            images=FrameFiles(self.folder, (name,)),
            boxes=self.boxes[number][None],
            absent=torch.zeros(1, dtype=torch.bool),
        )


def open_stills(folder: Path, annotations: Path) -> Stills:
    """Find the boxes in images. Images are read when they are asked for.

    Boxes around crowds, and those narrower or lower than a pixel, are left out.

    Args:
        folder: Of the images, such as ``train2017``.
        annotations: The JSON, such as ``instances_train2017.json``.

    Returns:
        The boxes, in the order of the file.

    Raises:
        DataError: If the folder is missing, or the file is damaged or has no boxes.
    """
    if not folder.is_dir():
        raise DataError(f"`{folder}` is not a folder.\nHint: it holds the images of COCO.")
    expected = "expected the annotations of COCO: `images` and `annotations` with `bbox`"
    try:
        content = json.loads(read_bytes(annotations))
        names = {image["id"]: str(image["file_name"]) for image in content["images"]}
        found = [
            (each["image_id"], each["bbox"]) for each in content["annotations"] if _usable(each)
        ]
        numbers = {identity: number for number, identity in enumerate(names)}
        images = np.array([numbers[identity] for identity, _ in found], dtype=np.int64)
        boxes = torch.tensor([box for _, box in found], dtype=torch.float64).reshape(-1, 4)
    # What another JSON, or one that was cut off, makes of these lines.
    except (ValueError, KeyError, TypeError, IndexError, RuntimeError) as error:
        raise damaged(annotations, expected) from error
    if not len(boxes):
        raise damaged(annotations, "it has no boxes with an area")
    return Stills(folder=folder, names=tuple(names.values()), images=images, boxes=boxes)


def _usable(annotation: Mapping[str, Any]) -> bool:
    _, _, width, height = annotation["bbox"]
    return not annotation.get("iscrowd") and min(width, height) >= _SMALLEST
