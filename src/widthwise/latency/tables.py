"""Times of a layer over its widths: measured on a grid, monotone, and linear in between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from widthwise.latency.multiples import usual_step

_SHARES = (0.25, 0.5, 0.75)
_LEAST = 8
"""The narrowest width of a dim that is measured, or a narrower one."""
STAIR = 16
"""Channels of a block of kernels: widths in between may take what the next multiple takes."""


def grid(full: int, step: int, *, moves: bool) -> tuple[int, ...]:
    """Choose the widths of a dim to measure a layer at.

    Args:
        full: Its length.
        step: It can only have multiples of this.
        moves: Whether any plan changes it.

    Returns:
        Widths in order; the last is the full one.

    Example:
        >>> grid(256, 1, moves=True), grid(12, 1, moves=True), grid(256, 1, moves=False)
        ((8, 64, 128, 192, 256), (1, 3, 6, 9, 12), (256,))
    """
    if not moves:
        return (full,)
    usual = usual_step(full)
    least, aligned = (
        multiple if multiple < full else step
        for multiple in (math.lcm(step, min(usual, _LEAST)), math.lcm(step, usual))
    )
    inner = {max(round(share * full / aligned), 1) * aligned for share in _SHARES}
    return tuple(sorted({min(least, full), full, *(width for width in inner if width < full)}))


@dataclass(frozen=True)
class Table:
    """Milliseconds over two widths, never less for a wider layer."""

    outer: tuple[int, ...]
    inner: tuple[int, ...]
    times: np.ndarray
    """Shape ``[len(outer), len(inner)]``."""

    @classmethod
    def of(cls, outer: tuple[int, ...], inner: tuple[int, ...], times: Sequence[float]) -> Table:
        """Make a table of measurements.

        Each is raised to the largest of those at no larger widths. A wide layer can be quicker than
        a narrow one, but a plan must not count on it: removing units never costs more.

        Args:
            outer: Outer widths, in order.
            inner: Inner widths, in order.
            times: Milliseconds, inner widths fastest.

        Returns:
            The table.
        """
        found = np.array(times, float).reshape(len(outer), len(inner))
        found = np.maximum.accumulate(np.maximum.accumulate(found, axis=0), axis=1)
        return cls(outer, inner, found)


class Tables:
    """The sum of many tables at once, each at widths of its own.

    Args:
        tables: A table per layer.
        most: The largest outer and inner width that is asked for, per layer.
        stairs: Per layer, how far times go up in stairs of `STAIR` channels, from 0 (in between as
            on a straight line) to 1 (in between as at the next stair). All 0 if not given.
    """

    def __init__(
        self,
        tables: Sequence[Table],
        most: Sequence[tuple[int, int]],
        stairs: Sequence[float] | None = None,
    ) -> None:
        stairs = [0.0] * len(tables) if stairs is None else stairs
        sizes = [table.times.size for table in tables]
        self._starts = np.cumsum([0, *sizes[:-1]]) if tables else np.empty(0, np.int64)
        self._flat = np.concatenate([np.empty(0), *(table.times.ravel() for table in tables)])
        self._rows = np.array([len(table.inner) for table in tables], np.int64)
        self._outer = _Places([t.outer for t in tables], [outer for outer, _ in most], stairs)
        self._inner = _Places([t.inner for t in tables], [inner for _, inner in most], stairs)

    def total(self, outer: np.ndarray, inner: np.ndarray) -> float:
        """Return the sum of all tables, in milliseconds.

        Args:
            outer: A width per layer, int, shape ``[layers]``.
            inner: The other one.
        """
        above, up = self._outer.at(outer)
        right, along = self._inner.at(inner)
        # The place below, and no more than one step on.
        below, left = above - (up > 0), right - (along > 0)
        up, along = np.where(up > 0, up, 1.0), np.where(along > 0, along, 1.0)

        def value(row: np.ndarray, column: np.ndarray) -> np.ndarray:
            return self._flat[self._starts + row * self._rows + column]

        low = (1 - along) * value(below, left) + along * value(below, right)
        high = (1 - along) * value(above, left) + along * value(above, right)
        return float(((1 - up) * low + up * high).sum())


class _Places:
    """Where widths stand among those measured: the next one, and how far from the one before."""

    def __init__(
        self, grids: Sequence[tuple[int, ...]], most: Sequence[int], stairs: Sequence[float]
    ) -> None:
        places, shares = [np.empty(0, np.int64)], [np.empty(0)]
        for widths, largest, stair in zip(grids, most, stairs, strict=True):
            asked = np.arange(largest + 1)
            if usual_step(widths[-1]) == STAIR:
                # A part of the first block can take less than the whole of it.
                asked = asked + stair * (-asked % STAIR) * (asked > STAIR)
            # Narrower than the narrowest takes what that takes, wider than the widest likewise.
            clipped = np.clip(asked, widths[0], widths[-1])
            place = np.searchsorted(widths, clipped)
            before = np.array(widths)[np.maximum(place - 1, 0)]
            gap = np.maximum(np.array(widths)[place] - before, 1)
            places.append(place)
            shares.append((clipped - before) / gap)
        self._starts = np.cumsum([0, *(largest + 1 for largest in most[:-1])])[: len(most)]
        self._places, self._shares = np.concatenate(places), np.concatenate(shares)

    def at(self, widths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        where = self._starts + widths
        return self._places[where], self._shares[where]
