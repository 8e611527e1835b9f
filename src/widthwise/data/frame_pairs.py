"""Pairs of frames that trackers are trained on: the target, and where it has to be found again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from widthwise.data.clips import Clip
from widthwise.errors import DataError
from widthwise.models.siamese import SEARCH_SIDE, TEMPLATE_SIDE
from widthwise.tracking.crops import context_side, cut

MARGIN = 24
"""Pixels around a stored search crop, so that it can be shifted when it is trained on."""
STORED_SIDE = SEARCH_SIDE + 2 * MARGIN
"""Height and width of stored search crops, in pixels."""

CropPair = tuple[Tensor, Tensor]
"""Template ``[3, 64, 64]`` and search crop ``[3, 176, 176]``, uint8, with the target in the middle
of both; with a batch in front where there are many."""


def pair_of(
    frames: tuple[Tensor, Tensor], boxes: tuple[Tensor, Tensor], *, stretch: float = 1.0
) -> CropPair:
    """Cut a pair out of two frames.

    Args:
        frames: uint8, shape ``[3, h, w]`` each. Not changed.
        boxes: Of the target in both, shape ``[4]``, with an area.
        stretch: How much larger than usual what the search crop shows is.

    Returns:
        The pair.
    """
    (first, second), (before, after) = frames, boxes
    template = cut(first, _middle(before), [context_side(*before[2:].tolist())], size=TEMPLATE_SIDE)
    side = context_side(*after[2:].tolist()) * STORED_SIDE / TEMPLATE_SIDE * stretch
    search = cut(second, _middle(after), [side], size=STORED_SIDE)
    return _as_bytes(template[0]), _as_bytes(search[0])


@dataclass(frozen=True, kw_only=True)
class PairsInMemory:
    """Pairs, each kept once, as `widthwise.data.batches.Numbered`."""

    templates: Tensor
    """uint8, shape ``[n, 3, 64, 64]``."""
    searches: Tensor
    """uint8, shape ``[n, 3, 176, 176]``."""

    def __len__(self) -> int:
        """Count the pairs."""
        return len(self.templates)

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> CropPair:
        """Give some of the pairs.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides nothing: they are as they are.

        Returns:
            Templates and search crops.
        """
        chosen = torch.tensor(list(numbers))
        return self.templates[chosen], self.searches[chosen]


class ClipPairs:
    """Pairs out of annotated clips, as `widthwise.data.batches.Numbered`.

    A pair is decided by a seed and its number alone: first the clip, all of them being equally
    likely, then its frames.

    Args:
        clips: Annotated.
        count: Pairs there are.
        gap: Frames between the two of a pair at most.

    Raises:
        DataError: If no clip has two frames in which the target is seen.
    """

    def __init__(self, clips: Sequence[Clip], *, count: int, gap: int) -> None:
        seen = [(clip, clip.seen) for clip in clips]
        self._clips = [(clip, numbers) for clip, numbers in seen if len(numbers) > 1]
        if not self._clips:
            raise DataError(
                f"None of {len(clips)} clips has two frames with a known box.\n"
                "Why: pairs of frames are trained on.\n"
                "Hint: train on a part whose boxes are published."
            )
        self._count = count
        self._gap = gap

    def __len__(self) -> int:
        """Count the pairs."""
        return self._count

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> CropPair:
        """Draw some of the pairs.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides, with the number of a pair, which frames those are.

        Returns:
            Templates and search crops.

        Raises:
            DataError: If a frame cannot be read.
        """
        drawn = [self._drawn(np.random.default_rng([seed or 0, number])) for number in numbers]
        return (
            torch.stack([template for template, _ in drawn]),
            torch.stack([search for _, search in drawn]),
        )

    def _drawn(self, random: np.random.Generator) -> CropPair:
        clip, numbers = self._clips[int(random.integers(len(self._clips)))]
        first = int(random.choice(numbers[:-1]))
        later = numbers[(numbers > first) & (numbers <= first + self._gap)]
        # Where the target is hidden for long, the next frame that shows it.
        second = int(random.choice(later) if len(later) else numbers[numbers > first][0])
        return pair_of(
            (clip.images[first], clip.images[second]), (clip.boxes[first], clip.boxes[second])
        )


def _middle(box: Tensor) -> list[float]:
    middle: list[float] = (box[:2] + box[2:] / 2).tolist()
    return middle


def _as_bytes(crop: Tensor) -> Tensor:
    return (crop * 255).round().clamp(0, 255).to(torch.uint8)
