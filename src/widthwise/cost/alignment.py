"""Multiples of channels that a machine likes, from times of the layers of a network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from widthwise.cost.layers import Layer
from widthwise.graph import Axis, ChannelGraph
from widthwise.latency.calls import LayerCall
from widthwise.latency.meter import Meter
from widthwise.rules import UnitNumbers

_STEPS = (32, 16, 8)
"""Widths between two multiples of one of these are held against a straight line."""
_PARTS = 4
"""Into so many parts a step is divided."""
_WORTH = 0.02
"""Share of the time that widths off a coarser step must cost before choice is given up for it."""


def multiples_of(graph: ChannelGraph, layers: Sequence[Layer], meter: Meter) -> dict[str, int]:
    """Choose a multiple of channels for the free axes that are wide enough for a choice.

    Around half of an axis lies a window from a multiple of 32 channels to the next one; of 16 if it
    has fewer than 64 channels, and of 8 if fewer than 32. The layers that have the axis as a whole
    side, and not in groups that are narrowed, are timed at five widths of that window. A straight
    line between its ends is what the others would take if only the amount of work counted. Of all
    windows of one length together, the step is the smallest one whose multiples take at most a
    fiftieth more than that in the mean.

    Args:
        graph: The network.
        layers: Its layers.
        meter: What measures.

    Returns:
        Channels by axis. Axes of fewer than 16 channels, and those without a layer that could tell,
        are not named.
    """
    probed = [each for layer in layers for each in _probed(graph, layer)]
    calls = {call.key: call for _, row in probed for call in row}
    times = dict(zip(calls, meter.layers(list(calls.values())), strict=True))
    # One layer's times are not sure to a fiftieth; those of all together are.
    sums: dict[int, np.ndarray] = {}
    for axis, row in probed:
        found = np.array([times[call.key] for call in row])
        line = np.linspace(found[0], found[-1], len(found))
        apart = _window(axis).step
        sums[apart] = sums.get(apart, 0) + np.array([found, line])
    chosen = {apart: _smallest_worth(both[0] / both[1] - 1) * apart for apart, both in sums.items()}
    return {axis.name: chosen[_window(axis).step] for axis, _ in probed}


def _window(axis: Axis) -> range:
    """Return the widths to time, in channels, with both ends; none if there is no choice."""
    channels = axis.width * axis.unit_size
    for step in _STEPS:
        if channels >= 2 * step and step // _PARTS % axis.unit_size == 0:
            start = max(channels // 2 // step, 1) * step
            return range(start, start + step + 1, step // _PARTS)
    return range(0)


def _probed(graph: ChannelGraph, layer: Layer) -> Iterator[tuple[Axis, list[LayerCall]]]:
    """Yield the free axes that are a whole side of a layer, and the calls that tell about them."""
    if layer.call.groups > 1 and not layer.whole_groups:
        return
    outer, inner = layer.call.outer, layer.call.inner
    if (axis := _whole(graph, layer.outer)) is not None:
        yield axis, [layer.at(width, inner) for width in _window(axis)]
    if (axis := _whole(graph, layer.inner)) is not None:
        yield axis, [layer.at(outer, width) for width in _window(axis)]


def _whole(graph: ChannelGraph, units: UnitNumbers | None) -> Axis | None:
    """Return the free axis with a choice of widths that a side is, all of it and once."""
    if units is None:
        return None
    for axis in graph.axes.values():
        if axis.frozen is None and axis.units.start <= units[0] < axis.units.stop:
            channels = np.repeat(np.arange(axis.units.start, axis.units.stop), axis.unit_size)
            return axis if len(_window(axis)) and np.array_equal(np.sort(units), channels) else None
    return None


def _smallest_worth(excess: np.ndarray) -> int:
    """Choose how many of the parts of a window a step has, from what widths take beyond a line."""
    apart = 1
    while apart < _PARTS and excess[apart:-1:apart].mean() > _WORTH:
        apart *= 2
    return apart
