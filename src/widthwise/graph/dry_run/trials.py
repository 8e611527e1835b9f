"""Trials: how much of every axis a dry run removes, so that no two widths agree by chance.

A narrow run shows that code expects two widths to be equal, or one to be a fraction of another,
only if that does not hold in it anyway.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import count, islice
from math import gcd
from typing import TypeAlias

import numpy as np

from widthwise.graph.axes import Units

Amounts: TypeAlias = tuple[int, ...]
"""How many units of an axis each trial removes."""

_STEPS = {2: (0.7548777, 0.5698403), 3: (0.8191725, 0.6710436, 0.5497005)}
"""Multiples of these, modulo one, fill a square or a cube evenly, and neighbours lie far apart:
powers of 1 / p, where p ** (d + 1) == p + 1."""
_OF_TWO_OR_THREE: tuple[Amounts, ...] = ((1, 1, 1), (1, 1, 0), (1, 0, 1), (0, 1, 1))
"""At width one PyTorch leaves out copies, so of three units one goes at most; but it goes once from
each end."""


def trial_masks(units: Units, *, guessed: bool = False) -> list[np.ndarray]:
    """Return masks that narrow every free axis, by shares that have nothing to do with each other.

    Two; three if two cannot tell axes of one small width apart, or if there was guessing. An axis
    loses its last units in one and its first in another, by other amounts where it can: what
    happens to suit one width, or a slice at constant places, must not pass.

    Args:
        units: Units and axes.
        guessed: Whether widths are held for equal because that suits the failed run so far.

    Returns:
        Which units stay, of each mask bool, shape ``[units]``.
    """
    free = [axis for axis in units.axes.values() if axis.frozen is None and axis.width > 1]
    amounts = removals([axis.width for axis in free], guessed=guessed)
    masks = [np.ones(units.count, bool) for _ in (amounts[0] if amounts else _STEPS[2])]
    for axis, each in zip(free, amounts, strict=True):
        first, stop = axis.units.start, axis.units.stop
        narrowing = [(mask, amount) for mask, amount in zip(masks, each, strict=True) if amount]
        for number, (mask, amount) in enumerate(narrowing):
            gone = slice(first, first + amount) if number % 2 else slice(stop - amount, stop)
            mask[gone] = False
    return masks


def removals(widths: Sequence[int], *, guessed: bool = False) -> list[Amounts]:
    """Choose how many units each trial removes of axes of some widths: half of them at most.

    Args:
        widths: Widths of the axes, in order; at least 2.
        guessed: Whether to take three trials in any case.

    Returns:
        The amounts of each axis: others for each axis of one width, as long as there are any.
    """
    crowded = any(many > _pairs(width) for width, many in Counter(widths).items())
    steps = _STEPS[3 if crowded or guessed else 2]
    chosen: list[Amounts] = []
    taken: dict[int, set[Amounts]] = defaultdict(set)
    points = count()
    for width in widths:
        if width < 4:
            tries = iter([each[: len(steps)] for each in _OF_TWO_OR_THREE])
        else:
            tries = islice(_of_width(width, steps, points), 2 * (width // 2) ** len(steps))
        # A width may have more axes than there are amounts; then they start over.
        amounts = next((each for each in tries if each not in taken[width]), None)
        if amounts is None:
            taken[width].clear()
            amounts = (1, *[width // 2] * (len(steps) - 1))
        taken[width].add(amounts)
        chosen.append(amounts)
    return chosen


def _of_width(width: int, steps: Sequence[float], points: Iterator[int]) -> Iterator[Amounts]:
    """Yield unlike amounts of a width for one point after another."""
    every = range(1, width // 2 + 1)
    choices = [_coprime(width), *[every] * (len(steps) - 1)]
    for point in points:
        shares = [(0.5 + point * step) % 1 for step in steps]
        found = tuple(
            choice[int(share * len(choice))] for choice, share in zip(choices, shares, strict=True)
        )
        if len(set(found)) > 1:
            yield found


@cache
def _coprime(width: int) -> Sequence[int]:
    """Return the amounts that leave a count which no divisor of a width divides.

    The first trial is to show at once whether code needs a count that its heads divide: that the
    first remedy which gets through it suits the others, too.
    """
    return [gone for gone in range(1, width // 2 + 1) if gcd(width, width - gone) == 1]


def _pairs(width: int) -> int:
    """Return how many pairs of unlike amounts there are; the only amount makes a pair, too."""
    return max(len(_coprime(width)) * (width // 2 - 1), 1)
