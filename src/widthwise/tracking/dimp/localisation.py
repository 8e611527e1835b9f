"""From a map of scores to where the target is, and how far that can be relied on."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class LocalisationSettings:
    """How scores are read."""

    found: float = 0.25
    """Score from which a target counts as found."""
    blanked: float = 2.2
    """Size of what is left out around the highest score, in search of another peak, as a multiple
    of the target's."""
    distractor: float = 0.8
    """Share of the highest score above which another peak may be the target."""
    hard_negative: float = 0.5
    """Share above which it is worth learning from."""
    near: float = 0.8
    """Distance from the last place up to which a peak is near, as a share of half the map."""


class Finding(Enum):
    """What a map of scores says."""

    NORMAL = auto()
    """One clear peak."""
    HARD_NEGATIVE = auto()
    """A peak is the target, and another one is not, but looks like it."""
    UNCERTAIN = auto()
    """Two peaks, and nothing that tells them apart."""
    NOT_FOUND = auto()
    """No peak that is high enough."""


class Located(NamedTuple):
    """The place of the target."""

    finding: Finding
    """How far it can be relied on."""
    moved: Tensor
    """x and y from the middle of the map, in cells, float64, shape ``[2]``."""
    score: float
    """At that place."""


def locate(scores: Tensor, target: Tensor, settings: LocalisationSettings) -> Located:
    """Find the target in a map of scores whose middle is the place where it was last.

    Args:
        scores: ``[rows, columns]``.
        target: Width and height of the target, in cells.
        settings: How they are read.

    Returns:
        The place of one of the two highest peaks.

    Example:
        >>> scores = torch.zeros(5, 5)
        >>> scores[1, 4] = 0.7
        >>> locate(scores, torch.tensor([1.0, 1.0]), LocalisationSettings())
        Located(finding=<Finding.NORMAL: 1>, moved=tensor([ 2., -1.], dtype=torch.float64), ...
    """
    scores = scores.double().cpu()
    rows, columns = scores.shape
    middle = torch.tensor([columns - 1, rows - 1]).double() / 2
    first, height = _peak(scores)
    moved = first - middle
    # A comparison that also fails for NaN, which a damaged network returns.
    if not height >= settings.found:
        return Located(Finding.NOT_FOUND, moved, height)
    second, other = _peak(_blanked(scores, first, target.double().cpu() * settings.blanked))
    if other > settings.distractor * height:
        reach = settings.near * (rows * columns) ** 0.5 / 2
        near = [float((place - middle).norm()) < reach for place in (first, second)]
        if near == [True, False]:
            return Located(Finding.HARD_NEGATIVE, moved, height)
        if near == [False, True]:
            return Located(Finding.HARD_NEGATIVE, second - middle, other)
        return Located(Finding.UNCERTAIN, moved, height)
    if other > settings.hard_negative * height and other > settings.found:
        return Located(Finding.HARD_NEGATIVE, moved, height)
    return Located(Finding.NORMAL, moved, height)


def _peak(scores: Tensor) -> tuple[Tensor, float]:
    row, column = divmod(int(scores.argmax()), scores.shape[1])
    return torch.tensor([column, row]).double(), float(scores[row, column])


def _blanked(scores: Tensor, peak: Tensor, size: Tensor) -> Tensor:
    start = (peak - size / 2).round().long().clamp(min=0).tolist()
    stop = ((peak + size / 2).round().long() + 1).tolist()
    left = scores.clone()
    left[start[1] : stop[1], start[0] : stop[0]] = 0
    return left
