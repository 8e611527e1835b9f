"""Text files with numbers: boxes and flags, in the ways that the sets write them."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from widthwise.data.source import damaged, read_bytes
from widthwise.tracking.boxes import known


def lines_in(path: Path) -> list[list[str]]:
    """Read the lines of a file that are not empty, cut into words.

    Args:
        path: Text, with commas, semicolons, tabs or blanks between words.

    Returns:
        The words of each line.

    Raises:
        DataError: If it cannot be read or is not text.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise damaged(path, f"expected text, found the byte {error.object[error.start]}") from error
    words = (re.split(r"[,;\s]+", line.strip(", ;\t\r")) for line in text.splitlines())
    return [line for line in words if line != [""]]


def numbers_in(path: Path, line: int, words: list[str]) -> list[float]:
    """Turn the words of a line into numbers.

    Args:
        path: Their file, for messages.
        line: Which of its lines with something in it, from 1.
        words: The words; ``nan`` is a number.

    Returns:
        The numbers.

    Raises:
        DataError: If one is no number.
    """
    try:
        return [float(word) for word in words]
    except ValueError as error:
        raise damaged(path, f"line {line} is `{','.join(words)}`, expected numbers") from error


def boxes_in(path: Path, *, first_pixel: int) -> Tensor:
    """Read boxes, one a line.

    Args:
        path: Its lines hold x, y, width and height.
        first_pixel: Number of the first pixel, 0 or 1.

    Returns:
        float64, shape ``[n, 4]``, counted from 0. NaN rows for boxes with a number that is not
        finite, or without area: that is how sets write that they do not know.

    Raises:
        DataError: If a line has not four numbers.
    """
    rows = []
    for line, words in enumerate(lines_in(path), 1):
        numbers = numbers_in(path, line, words)
        if len(numbers) != 4:
            raise damaged(
                path,
                f"line {line} has {len(numbers)} numbers, expected 4: x, y, width and height",
            )
        rows.append(numbers)
    return from_rows(rows, first_pixel=first_pixel)


def from_rows(rows: list[list[float]], *, first_pixel: int) -> Tensor:
    """Make a tensor of boxes.

    Args:
        rows: x, y, width and height.
        first_pixel: Number of the first pixel, 0 or 1.

    Returns:
        As of `boxes_in`.

    Example:
        >>> from_rows([[1, 11, 5, 5], [0, 0, 0, 0]], first_pixel=1)
        tensor([[ 0., 10.,  5.,  5.],
                [nan, nan, nan, nan]], dtype=torch.float64)
    """
    boxes = torch.tensor(rows, dtype=torch.float64).reshape(-1, 4)
    boxes[:, :2] -= first_pixel
    boxes[~known(boxes)] = float("nan")
    return boxes


def flags_in(path: Path, *, frames: int) -> Tensor:
    """Read one number per frame, and tell where it is not 0.

    Args:
        path: Numbers, on one line or on many.
        frames: How many there have to be.

    Returns:
        bool, shape ``[frames]``.

    Raises:
        DataError: If there are more or fewer, or one is no number.
    """
    lines = enumerate(lines_in(path), 1)
    values = [number for line, words in lines for number in numbers_in(path, line, words)]
    if len(values) != frames:
        raise damaged(path, f"it has {len(values)} flags for {frames} frames")
    return torch.tensor(values) != 0


def only_first(boxes: Tensor, *, frames: int) -> Tensor:
    """Fill up the boxes of a clip whose authors publish the first one only.

    Args:
        boxes: Shape ``[n, 4]``. Not changed.
        frames: How many frames it has.

    Returns:
        With rows of NaN for the other frames if there is one box; the same otherwise.
    """
    if len(boxes) != 1:
        return boxes
    unknown = torch.full((max(frames - 1, 0), 4), float("nan"), dtype=torch.float64)
    return torch.cat([boxes, unknown])
