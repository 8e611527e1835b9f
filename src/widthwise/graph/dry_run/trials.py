"""Trials: how much of every axis a dry run removes, so that no two widths agree by chance.

A narrow run shows that code expects two widths to be equal, or one to be a fraction of another,
only if that does not hold in it anyway.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import TypeAlias

import numpy as np

from widthwise.graph.axes import Units

Amounts: TypeAlias = tuple[int, ...]
"""How many units of an axis each trial removes."""

_STEPS = {1: (0.6180340,), 2: (0.7548777, 0.5698403)}
"""Multiples of these, modulo one, fill a line or a square evenly, and neighbours lie far apart:
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
    masks = [np.ones(units.count, bool) for _ in (amounts[0] if amounts else range(2))]
    for axis, each in zip(free, amounts, strict=True):
        first, stop = axis.units.start, axis.units.stop
        narrowing = [(mask, amount) for mask, amount in zip(masks, each, strict=True) if amount]
        for number, (mask, amount) in enumerate(narrowing):
            gone = slice(first, first + amount) if number % 2 else slice(stop - amount, stop)
            mask[gone] = False
    return masks


def removals(widths: Sequence[int], *, guessed: bool = False) -> list[Amounts]:
    """Choose how many units each trial removes of axes of some widths: half of them at most.

    The first trial removes one unit of the first axis, two of the next, and so on: few divisors of
    a width divide what is left of it. The others remove shares that no other axis loses.

    Args:
        widths: Widths of the axes, in order; at least 2.
        guessed: Whether to take three trials in any case.

    Returns:
        The amounts of each axis: other shares for each axis, as long as there are any.
    """
    firsts = [1 + number % max(width // 2, 1) for number, width in enumerate(widths)]
    alike = Counter(zip(widths, firsts, strict=True))
    crowded = any(many > max(width // 2 - 1, 1) for (width, _), many in alike.items())
    steps = _STEPS[2 if crowded or guessed else 1]
    chosen: list[Amounts] = []
    taken: dict[tuple[float, ...], int] = {}
    points = count()
    for width, first in zip(widths, firsts, strict=True):
        if width < 4:
            tries = iter([each[: 1 + len(steps)] for each in _OF_TWO_OR_THREE])
        else:
            tries = islice(_after(first, width, steps, points), 2 * (width // 2) ** len(steps))
        # A width may have more axes than there are amounts; then they start over.
        amounts = next((each for each in tries if _shares(each, width) not in taken), None)
        if amounts is None:
            taken = {shares: of for shares, of in taken.items() if of != width}
            amounts = (first, *[width // 2] * len(steps))
        taken[_shares(amounts, width)] = width
        chosen.append(amounts)
    return chosen


def _shares(amounts: Amounts, width: int) -> tuple[float, ...]:
    return tuple(amount / width for amount in amounts)


def _after(
    first: int, width: int, steps: Sequence[float], points: Iterator[int]
) -> Iterator[Amounts]:
    """Yield unlike amounts that begin with one, for one point after another."""
    for point in points:
        rest = [1 + int((0.5 + point * step) % 1 * (width // 2)) for step in steps]
        if set(rest) != {first}:
            yield (first, *rest)
