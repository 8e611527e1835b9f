"""How things move and change over the frames of a clip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]
Random = np.random.Generator

KEPT = 0.9
"""Share of a velocity that is still there one frame later."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast something goes, in its own sides per frame."""

    sigma: float
    """Standard deviation of what is added to the velocity in every frame."""
    jumps: float = 0.0
    """Share of frames in which it is half its side away at once."""


# Steps per frame of real clips, as shares of the target's side, in the median: 0.03 to 0.09 in calm
# ones (95 % below 0.18), 0.15 to 0.2 in fast ones (95 % below 0.49).
CALM = Pace(sigma=0.025)
FAST = Pace(sigma=0.08, jumps=0.03)


def wandering(random: Random, length: int, *, sigma: float, start: float = 0.0) -> Array:
    """Draw a value that wanders around 0 and comes back: an autoregressive process.

    Args:
        random: Decides.
        length: Number of frames.
        sigma: Standard deviation of what is added in every frame.
        start: The first value.

    Returns:
        Shape ``[length]``.
    """
    values = np.empty(length)
    value = start
    for frame in range(length):
        values[frame] = value
        value = 0.98 * value + random.normal(0, sigma)
    return values


def path(
    random: Random, length: int, *, start: Array, low: Array, high: Array, side: float, pace: Pace
) -> Array:
    """Draw a path that is thrown back at the sides of a box.

    Args:
        random: Decides.
        length: Number of frames.
        start: x and y at first.
        low: Smallest x and y.
        high: Largest x and y.
        side: Of what moves, in pixels.
        pace: How fast it goes.

    Returns:
        x and y of every frame, shape ``[length, 2]``.

    Example:
        >>> box = {"start": np.array([5.0, 5.0]), "low": np.zeros(2), "high": np.full(2, 10.0)}
        >>> points = path(np.random.default_rng(0), 50, **box, side=10.0, pace=FAST)
        >>> bool(((points >= 0) & (points <= 10)).all())
        True
    """
    points = np.empty((length, 2))
    place = np.array(start, dtype=float)
    # The process is in its stationary state from the first frame on.
    velocity = random.normal(0, pace.sigma * side / np.sqrt(1 - KEPT**2), 2)
    for frame in range(length):
        points[frame] = place
        place = place + velocity
        if random.random() < pace.jumps:
            angle = random.uniform(0, 2 * np.pi)
            place = place + side / 2 * np.array([np.cos(angle), np.sin(angle)])
        place, turned = _reflected(place, low, high)
        velocity = KEPT * np.where(turned, -velocity, velocity)
        velocity = velocity + random.normal(0, pace.sigma * side, 2)
    return points


def _reflected(place: Array, low: Array, high: Array) -> tuple[Array, Any]:
    back = np.where(place < low, 2 * low - place, np.where(place > high, 2 * high - place, place))
    return np.clip(back, low, high), (place < low) | (place > high)
