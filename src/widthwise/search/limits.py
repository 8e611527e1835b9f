"""What no plan may go below, and which axes it may touch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np

from widthwise.cost import Budget, Latency
from widthwise.errors import ConfigError
from widthwise.graph import Axis, ChannelGraph
from widthwise.graph.names import is_named, matching
from widthwise.latency.multiples import usual_step

_MEASURED = "measured"

RoundTo: TypeAlias = int | Mapping[str, int] | Literal["measured"] | None
"""Of what the channels of a narrowed axis are a multiple."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Floors under widths, alignment, and a choice of axes.

    Args:
        min_width: Channels that every axis keeps at least.
        min_keep: Keep ratio that every axis has at least, in [0, 1]; or one per name or glob of
            axes, 0 for the others.
        round_to: Channels of a narrowed axis are a multiple of this. By default 16 on axes of at
            least 64 channels, 8 from 32 on, if that leaves four widths to choose from, and 1 on
            others: kernels work on blocks of channels, and a network of odd widths can be slower
            than the full one. One per name or glob of axes leaves the default to others.
            ``"measured"`` takes what `Latency.multiples` of a latency budget says.
        include: Names or globs (``layer1.*``) of axes that may be narrowed, or one of them; all by
            default.
        exclude: Names or globs of axes that may not, or one of them.

    Raises:
        ConfigError: If a number is out of range.
    """

    min_width: int = 1
    min_keep: float | Mapping[str, float] = 0.0
    round_to: RoundTo = None
    include: Sequence[str] | None = None
    exclude: Sequence[str] | None = None

    def __post_init__(self) -> None:
        for option in ("include", "exclude"):
            names = getattr(self, option)
            if isinstance(names, str):
                # A string is a sequence of its letters.
                object.__setattr__(self, option, (names,))
        _require_channels("min_width", self.min_width)
        if isinstance(self.round_to, Mapping):
            for step in self.round_to.values():
                _require_channels("round_to", step)
        elif self.round_to is not None and self.round_to != _MEASURED:
            _require_channels("round_to", self.round_to)
        ratios = self.min_keep.values() if isinstance(self.min_keep, Mapping) else [self.min_keep]
        if not all(0 <= ratio <= 1 for ratio in ratios):
            raise ConfigError(f"`min_keep` must be within [0, 1], got {self.min_keep!r}.")

    def axes(self, graph: ChannelGraph) -> list[Axis]:
        """Return the axes a plan may narrow, in order.

        Raises:
            ConfigError: If a name or glob matches no axis.
        """
        for option in ("min_keep", "round_to"):
            if isinstance(by_name := getattr(self, option), Mapping):
                matching(graph, option, tuple(by_name))
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

    def on(self, graph: ChannelGraph, budgets: Sequence[Budget]) -> Limits:
        """Return these limits with what is to be measured for them.

        Args:
            graph: The network.
            budgets: If there is one of latency, it says what the network will run on.

        Returns:
            The same limits, with a number of channels per axis where ``"measured"`` was asked for.

        Raises:
            ConfigError: If it was, and there is no latency budget.
        """
        if self.round_to != _MEASURED:
            return self
        for budget in budgets:
            if isinstance(budget, Latency):
                return replace(self, round_to=budget.multiples(graph))
        raise ConfigError(
            '`round_to="measured"` asks for what is quick, and no budget says on what.\n'
            "Hint: add a latency budget, such as `ww.Latency(keep=1.0, threads=1)` beside "
            "`ww.Macs(0.5)` (`latency=1.0,threads=1` on the command line); or "
            "write `round_to=ww.Latency(keep=1.0, threads=1).multiples(graph)`."
        )

    def step(self, axis: Axis) -> int:
        """Return the step of an axis' widths, in units, that keeps its channels aligned."""
        asked = self._step(axis)
        if asked is not None:
            return asked // math.gcd(asked, axis.unit_size)
        return usual_step(axis.width, axis.unit_size)

    def floor(self, axis: Axis) -> int:
        """Return the smallest width an axis may get, in units."""
        fewest = math.ceil(self.min_width / axis.unit_size)
        least = max(fewest, axis.floor, _ceil(self._ratio(axis) * axis.width))
        floor = min(least, axis.width)
        step = self.step(axis)
        return min(math.ceil(floor / step) * step, axis.width)

    def round_to_of(self, origins: Mapping[str, Axis]) -> RoundTo:
        """Return `round_to` in terms of the axes of a network that has been made of this one.

        Args:
            origins: Name of an axis there -> the axis here that it comes from.
        """
        if not isinstance(self.round_to, Mapping):
            return self.round_to
        steps = {name: self._step(axis) for name, axis in origins.items()}
        return {name: step for name, step in steps.items() if step is not None}

    def _step(self, axis: Axis) -> int | None:
        """Return the channels that are asked for; None for the default."""
        if not isinstance(self.round_to, Mapping):
            assert not isinstance(self.round_to, str), "`on` was not called"
            return self.round_to
        steps = [step for name, step in self.round_to.items() if is_named(axis.name, name)]
        return math.lcm(*steps) if steps else None

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


def _require_channels(option: str, number: object) -> None:
    """Raise if an option is no number of channels."""
    if not isinstance(number, int | np.integer):
        whole = int(number) if isinstance(number, float) and number.is_integer() else 8
        raise ConfigError(
            f"`{option}` must be a whole number of channels, got {number!r}.\n"
            f"Hint: write `{option}={whole}`."
        )
    if number < 1:
        raise ConfigError(f"`{option}` must be at least 1 channel, got {number!r}.")
