"""Multiples of channels that a machine likes, from times of the layers of a network."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from widthwise.cost.layers import Layer
from widthwise.graph import Axis, ChannelGraph
from widthwise.latency.calls import LayerCall
from widthwise.latency.meter import Meter

STEPS = (32, 16, 8)
"""Widths between two multiples of one of these are held against a straight line."""
_PARTS = 4
"""Into so many parts a step is divided."""
_WORTH = 0.02
"""Share of the time that widths off a coarser step must cost before choice is given up for it."""


def steps_of(graph: ChannelGraph, layers: Sequence[Layer], meter: Meter) -> dict[str, int]:
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
    axes = {
        axis.name: axis
        for axis in graph.axes.values()
        if axis.frozen is None and len(_window(axis)) > 1
    }
    owner = np.full(graph.unit_count, -1)
    for number, axis in enumerate(axes.values()):
        owner[axis.units] = number
    probed = [
        (list(axes)[number], calls)
        for layer in layers
        for number, calls in _probed(layer, list(axes.values()), owner)
    ]
    calls = {call.key: call for _, row in probed for call in row}
    times = dict(zip(calls, meter.layers(list(calls.values())), strict=True))
    # One layer's times are not sure to a hundredth; those of all together are.
    sums: dict[int, np.ndarray] = {}
    for name, row in probed:
        apart = _window(axes[name]).step
        found = np.array([times[call.key] for call in row])
        line = np.linspace(found[0], found[-1], len(found))
        sums[apart] = sums.get(apart, 0) + np.array([found, line])
    chosen = {apart: _smallest_worth(both[0] / both[1] - 1) * apart for apart, both in sums.items()}
    return {name: chosen[_window(axes[name]).step] for name, _ in probed}


def _window(axis: Axis) -> range:
    """Return the widths to time, in channels, with both ends; none if there is no choice."""
    channels = axis.width * axis.unit_size
    for step in STEPS:
        if channels >= 2 * step and step // _PARTS % axis.unit_size == 0:
            start = max(channels // 2 // step, 1) * step
            return range(start, start + step + 1, step // _PARTS)
    return range(0)


def _probed(
    layer: Layer, axes: Sequence[Axis], owner: np.ndarray
) -> list[tuple[int, list[LayerCall]]]:
    """List the sides of a layer that are one axis, and the calls that tell about it."""
    found = []
    for side, units in enumerate((layer.outer, layer.inner)):
        if units is None or (layer.call.groups > 1 and not layer.whole_groups):
            continue
        number = int(owner[units[0]])
        one = number >= 0 and bool((owner[units] == number).all())
        if one and len(units) == axes[number].width * axes[number].unit_size:
            outer, inner = layer.call.outer, layer.call.inner
            found.append(
                (
                    number,
                    [
                        layer.at(width, inner) if side == 0 else layer.at(outer, width)
                        for width in _window(axes[number])
                    ],
                )
            )
    return found


def _smallest_worth(excess: np.ndarray) -> int:
    """Choose how many of the parts of a window a step has, from what widths take beyond a line."""
    apart = 1
    while apart < _PARTS and excess[apart:-1:apart].mean() > _WORTH:
        apart *= 2
    return apart
