"""What trackers that make a filter learn from: frames with a target, others to find it in.

Bhat et al., "Learning Discriminative Model Prediction for Tracking" (ICCV 2019, arXiv:1904.07220),
with the constants of its published code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from widthwise.data.clips import Clip
from widthwise.errors import DataError
from widthwise.models.dimp.losses import box_proposals
from widthwise.models.dimp.network import SIDE
from widthwise.tracking.dimp.views import View, looked_at

_WIDER = 5
"""Frames by which the gap grows until a frame with the target is found."""
_GREY = 0.05
"""Share of samples in grey."""
_LIGHT = 0.2
"""Largest share by which a crop is made brighter or darker."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """How far crops are from the target's own size and place."""

    size: float
    """Deviation of the logarithm of width and height, each on its own."""
    centre: float
    """Largest shift along x and y, in sides of a square that has the target's area."""


TEMPLATE = Jitter(size=0.25, centre=1.5)
"""Of frames to learn on."""
SEARCH = Jitter(size=0.5, centre=2.25)
"""Of frames to find the target in."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """What a sample consists of."""

    frames: int = 3
    """Frames to learn on, and as many to find the target in."""
    gap: int = 30
    """Frames from the base frame, at most, unless the target is hidden for longer."""
    side: int = SIDE
    """Height and width of crops in pixels."""
    context: float = 5.0
    """Side of what a crop shows, in sides of a square that has the target's area."""
    proposals: int = 8
    """Boxes to be judged in each frame to find the target in."""


class ClipBatch(NamedTuple):
    """Samples of some clips. Boxes are x, y, w, h in pixels of the crops, float32."""

    template_crops: Tensor
    """uint8, ``[batch, frames, 3, side, side]``. The base frame comes first."""
    template_boxes: Tensor
    """``[batch, frames, 4]``."""
    search_crops: Tensor
    """uint8, ``[batch, frames, 3, side, side]``."""
    search_boxes: Tensor
    """``[batch, frames, 4]``: where the target is."""
    proposals: Tensor
    """``[batch, frames, boxes, 4]``: near it."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Pool:
    """Clips that are equally likely to be drawn."""

    clips: Sequence[Clip]
    """At least one, each with a frame in which the target is seen."""
    weight: float = 1.0
    """How likely the pool is, beside others."""


class ClipSamples:
    """Samples out of annotated clips, as `widthwise.data.batches.Numbered`.

    A sample is decided by a seed and its number alone: first the pool, then the clip, then its
    frames, then how they are cut out.

    Args:
        pools: Where clips are drawn from.
        count: Samples there are.
        settings: What a sample consists of.

    Raises:
        DataError: If there is nothing to draw from.
    """

    def __init__(
        self, pools: Sequence[Pool], *, count: int, settings: SampleSettings | None = None
    ) -> None:
        weights = np.array([pool.weight for pool in pools], dtype=np.float64)
        if not weights.sum() > 0 or not all(len(pool.clips) for pool in pools):
            raise DataError(
                "There are no clips to train on.\n"
                "Hint: each pool has at least one clip, and one of them a weight above 0."
            )
        self._pools = pools
        self._shares = weights / weights.sum()
        self._count = count
        self._settings = settings or SampleSettings()

    def __len__(self) -> int:
        """Count the samples."""
        return self._count

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> ClipBatch:
        """Draw some of the samples.

        Args:
            numbers: Which, from 0, in this order.
            seed: Decides, with the number of a sample, all that is random about it.

        Returns:
            The samples.

        Raises:
            DataError: If a frame cannot be read.
        """
        drawn = [self._drawn(np.random.default_rng([seed or 0, number])) for number in numbers]
        return ClipBatch(*(torch.stack(each) for each in zip(*drawn, strict=True)))

    def _drawn(self, random: np.random.Generator) -> ClipBatch:
        clips = self._pools[int(random.choice(len(self._pools), p=self._shares))].clips
        return sample_of(clips[int(random.integers(len(clips)))], self._settings, random)


def sample_of(clip: Clip, settings: SampleSettings, random: np.random.Generator) -> ClipBatch:
    """Draw a sample out of a clip.

    Args:
        clip: With a frame in which the target is seen.
        settings: What a sample consists of.
        random: What is drawn from.

    Returns:
        One sample, without the dimension of a batch.

    Raises:
        DataError: If a frame cannot be read.
    """
    learned, searched = frames_around(clip.seen, settings, random)
    # A still, and the few frames of a short clip, are used several times.
    frames = {number: clip.images[number] for number in {*learned, *searched}}
    grey = bool(random.random() < _GREY)
    crops, boxes = [], []
    jitters = [TEMPLATE] * settings.frames + [SEARCH] * settings.frames
    for number, jitter in zip([*learned, *searched], jitters, strict=True):
        crop, box = _cut(frames[number], clip.boxes[number], settings, jitter, random)
        crops.append(_lit(crop, grey, random))
        boxes.append(box)
    targets = torch.stack(boxes[settings.frames :])
    generator = torch.Generator().manual_seed(int(random.integers(2**63)))
    return ClipBatch(
        template_crops=torch.stack(crops[: settings.frames]),
        template_boxes=torch.stack(boxes[: settings.frames]),
        search_crops=torch.stack(crops[settings.frames :]),
        search_boxes=targets,
        proposals=box_proposals(targets, count=settings.proposals, generator=generator),
    )


def frames_around(
    seen: Any, settings: SampleSettings, random: np.random.Generator
) -> tuple[list[int], list[int]]:
    """Draw frames around a base frame: those to learn on up to it, the others after it.

    Args:
        seen: Numbers of the frames in which the target is seen, in order; at least one. Of fewer
            than three, one is drawn for all.
        settings: How many and how far away.
        random: What is drawn from.

    Returns:
        Numbers of both, the base first. A frame may come several times.
    """
    count = settings.frames
    if len(seen) < 3:
        still = [int(random.choice(seen))] * count
        return still, still
    base = int(random.choice(seen[1:-1]))
    before = _near(seen[seen < base], base, settings.gap)
    after = _near(seen[seen > base], base, settings.gap)
    earlier = random.choice(before, count - 1).tolist()
    return [base, *earlier], random.choice(after, count).tolist()


def _near(numbers: Any, base: int, gap: int) -> Any:
    """Frames within the gap, which grows until there is one."""
    distances = np.abs(numbers - base)
    wider = max(0, math.ceil((int(distances.min()) - gap) / _WIDER)) * _WIDER
    return numbers[distances <= gap + wider]


def _cut(
    frame: Tensor,
    box: Tensor,
    settings: SampleSettings,
    jitter: Jitter,
    random: np.random.Generator,
) -> tuple[Tensor, Tensor]:
    """Cut out a square near a target; give it, values of 0 to 1, and where the target is in it."""
    stretched = box[2:] * torch.from_numpy(np.exp(random.normal(0, jitter.size, 2)))
    scale = float(stretched.prod().sqrt())
    shift = torch.from_numpy(random.uniform(-jitter.centre, jitter.centre, 2)) * scale
    centre = box[:2] + box[2:] / 2 + shift
    side = math.ceil(settings.context * scale)
    (crop,) = looked_at(frame, centre, side, size=settings.side, views=[View()])
    corner = (box[:2] - centre + side / 2) / side
    found = torch.cat([corner, box[2:] / side]) * settings.side
    return crop, found.float()


def _lit(crop: Tensor, grey: bool, random: np.random.Generator) -> Tensor:
    """Take the colours away if asked, change the light, and round to bytes."""
    if grey:
        luma = torch.tensor(_LUMA).reshape(3, 1, 1)
        crop = (crop * luma).sum(0, keepdim=True).expand(3, -1, -1)
    crop = crop * random.uniform(1 - _LIGHT, 1 + _LIGHT)
    return (crop.clamp(0, 1) * 255).round().to(torch.uint8)
