"""What no plan may go below, and which axes it may touch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from widthwise.errors import ConfigError
from widthwise.graph import Axis, ChannelGraph
from widthwise.graph.names import is_named, matching

_ALIGNED, _WIDE = 8, 32
"""Multiples of channels by default, on axes of so many channels."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Floors under widths, alignment, and a choice of axes.

    Args:
        min_width: Channels that every axis keeps at least.
        min_keep: Keep ratio that every axis has at least, in [0, 1]; or one per name or glob of
            axes, 0 for the others.
        round_to: Channels of a narrowed axis are a multiple of this. By default 8 on axes of at
            least 32 channels, if that leaves four widths to choose from, and 1 on others: kernels
            work on blocks of channels, and a network of odd widths can be slower than the full one.
        include: Names or globs (``layer1.*``) of axes that may be narrowed, or one of them; all by
            default.
        exclude: Names or globs of axes that may not, or one of them.

    Raises:
        ConfigError: If a number is out of range.
    """

    min_width: int = 1
    min_keep: float | Mapping[str, float] = 0.0
    round_to: int | None = None
    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for option in ("include", "exclude"):
            names = getattr(self, option)
            if isinstance(names, str):
                # A string is a sequence of its letters.
                object.__setattr__(self, option, (names,))
        for option in ("min_width", "round_to"):
            number = getattr(self, option)
            if number is not None and not isinstance(number, int | np.integer):
                whole = int(number) if isinstance(number, float) and number.is_integer() else 8
                raise ConfigError(
                    f"`{option}` must be a whole number of channels, got {number!r}.\n"
                    f"Hint: write `{option}={whole}`."
                )
        if self.min_width < 1:
            raise ConfigError(f"`min_width` must be at least 1 channel, got {self.min_width!r}.")
        ratios = self.min_keep.values() if isinstance(self.min_keep, Mapping) else [self.min_keep]
        if not all(0 <= ratio <= 1 for ratio in ratios):
            raise ConfigError(f"`min_keep` must be within [0, 1], got {self.min_keep!r}.")
        if self.round_to is not None and self.round_to < 1:
            raise ConfigError(f"`round_to` must be at least 1 channel, got {self.round_to!r}.")

    def axes(self, graph: ChannelGraph) -> list[Axis]:
        """Return the axes a plan may narrow, in order.

        Raises:
            ConfigError: If a name or glob matches no axis.
        """
        if isinstance(self.min_keep, Mapping):
            matching(graph, "min_keep", tuple(self.min_keep))
        included = None if self.include is None else matching(graph, "include", self.include)
        excluded = matching(graph, "exclude", self.exclude or ())
        return [
            axis
            for axis in graph.axes.values()
            if axis.frozen is None
            and axis.name not in excluded
            and (included is None or axis.name in included)
        ]

    def only(self, graph: ChannelGraph, units: np.ndarray) -> Limits:
        """Return these limits for a search that can say nothing about some units.

        Args:
            graph: The network.
            units: What it can say something about, bool, shape ``[units]``.

        Returns:
            The same limits, with the axes that hold other units excluded.

        Raises:
            ConfigError: If a name or glob matches no axis.
        """
        idle = [axis.name for axis in self.axes(graph) if not units[axis.units].all()]
        return replace(self, exclude=(*(self.exclude or ()), *idle))

    def step(self, axis: Axis) -> int:
        """Return the step of an axis' widths, in units, that keeps its channels aligned."""
        if self.round_to is not None:
            return self.round_to // math.gcd(self.round_to, axis.unit_size)
        step = _ALIGNED // math.gcd(_ALIGNED, axis.unit_size)
        wide = axis.width * axis.unit_size >= _WIDE
        # Units of 30 channels are aligned four by four, of which there may be no four.
        return step if wide and step <= axis.width * _ALIGNED // _WIDE else 1

    def floor(self, axis: Axis) -> int:
        """Return the smallest width an axis may get, in units."""
        fewest = math.ceil(self.min_width / axis.unit_size)
        least = max(fewest, axis.floor, _ceil(self._ratio(axis) * axis.width))
        floor = min(least, axis.width)
        step = self.step(axis)
        return min(math.ceil(floor / step) * step, axis.width)

    def _ratio(self, axis: Axis) -> float:
        if not isinstance(self.min_keep, Mapping):
            return self.min_keep
        return max(
            (ratio for name, ratio in self.min_keep.items() if is_named(axis.name, name)),
            default=0.0,
        )

    def widths(self, axis: Axis) -> list[int]:
        """Return the widths an axis may have, widest first."""
        step, floor = self.step(axis), self.floor(axis)
        first = (axis.width - 1) // step * step
        return [axis.width, *range(first, floor - 1, -step)] if floor < axis.width else [axis.width]


def _ceil(share: float) -> int:
    # 0.55 of 100 is 55, though the product is 55.00000000000001.
    return math.ceil(share * (1 - 1e-12))
