"""Milliseconds of several callables, measured in turns."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_WARM_UP = 2
_FEWEST, _MOST = 7, 200
_BLOCK = 0.005
"""Seconds. Runs that take less are timed several at once: a clock has its own cost and grain."""
_LARGEST_BLOCK = 200


@dataclass(frozen=True, kw_only=True)
class Times:
    """Milliseconds that one run takes.

    Attributes:
        median: Of all measurements.
        low: Lower quartile.
        high: Upper quartile.
        measurements: How many there were.
    """

    median: float
    low: float
    high: float
    measurements: int

    @classmethod
    def of(cls, milliseconds: Sequence[float]) -> Times:
        """Summarise measurements; at least two."""
        low, median, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
        return cls(median=median, low=low, high=high, measurements=len(milliseconds))


def interleaved(
    runs: Sequence[Callable[[], object]],
    *,
    seconds: float = 1.0,
    clock: Callable[[], float] = time.perf_counter,
) -> list[Times]:
    """Time callables in turns, so that a machine that slows down slows all of them.

    Each is run without a clock before it is measured: the others have emptied its caches. The order
    is reversed from turn to turn.

    Args:
        runs: What to time. Each is called many times.
        seconds: Time to spend on each; at least seven measurements are made.
        clock: Returns seconds.

    Returns:
        Medians and quartiles, in order.

    Example:
        >>> now = [0.0]
        >>> def wait(milliseconds):
        ...     now[0] += milliseconds / 1000
        >>> quick, slow = interleaved([lambda: wait(2), lambda: wait(5)], clock=lambda: now[0])
        >>> round(quick.median, 6), round(slow.median, 6)
        (2.0, 5.0)
    """
    once = [_first(run, clock) for run in runs]
    blocks = [min(max(math.ceil(_BLOCK / each), 1), _LARGEST_BLOCK) for each in once]
    turn = sum(each * (block + 1) for each, block in zip(once, blocks, strict=True))
    turns = min(max(int(seconds * len(runs) / turn), _FEWEST), _MOST) if turn else 0
    found: list[list[float]] = [[] for _ in runs]
    order = list(range(len(runs)))
    for _ in range(turns):
        for number in order:
            run, block = runs[number], blocks[number]
            run()
            start = clock()
            for _ in range(block):
                run()
            found[number].append(1e3 * (clock() - start) / block)
        order.reverse()
    return [Times.of(each) for each in found]


def _first(run: Callable[[], object], clock: Callable[[], float]) -> float:
    """Return roughly how many seconds a run takes, once it is warm."""
    for _ in range(_WARM_UP):
        run()
    start = clock()
    run()
    return max(clock() - start, 1e-7)
