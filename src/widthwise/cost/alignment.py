"""Multiples of channels that a machine likes, per axis, from times of its layers."""

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
    """Choose a multiple of channels for every free axis that is wide enough for a choice.

    Around half of an axis lies a window from a multiple of 32 channels to the next one; of 16 if it
    has fewer than 64 channels, and of 8 if fewer than 32. The layers that have the axis as a whole
    side, and not in groups that are narrowed, are timed at five widths of that window. A straight
    line between its ends is what the others would take if only the amount of work counted. The step
    is the smallest one whose multiples take at most a fiftieth more than that in the mean.

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
    probes: list[list[LayerCall]] = []
    owners: list[int] = []
    for layer in layers:
        for number, row in _probed(layer, list(axes.values()), owner):
            owners.append(number)
            probes.append(row)
    calls = {call.key: call for row in probes for call in row}
    times = dict(zip(calls, meter.layers(list(calls.values())), strict=True))
    found = {}
    for number, axis in enumerate(axes.values()):
        rows = [
            [times[call.key] for call in row]
            for mine, row in zip(owners, probes, strict=True)
            if mine == number
        ]
        if rows:
            found[axis.name] = _smallest_worth(_window(axis), np.sum(rows, axis=0))
    return found


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


def _smallest_worth(window: range, times: np.ndarray) -> int:
    """Choose a step from times of the widths of a window."""
    excess = times / np.linspace(times[0], times[-1], len(times)) - 1
    apart = 1
    while apart < _PARTS and excess[apart:-1:apart].mean() > _WORTH:
        apart *= 2
    return apart * window.step
