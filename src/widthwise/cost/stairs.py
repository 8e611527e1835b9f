"""How far the times of layers go up in stairs, rather than along a line, between their widths."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from widthwise.cost.layers import Layer
from widthwise.latency.calls import LayerCall
from widthwise.latency.multiples import usual_step
from widthwise.latency.tables import STAIR

_WIDEST = 32 * STAIR
"""Of a wider dim, a stair is too small a part to be seen in its time."""

Grid = tuple[int, ...]


@dataclass(frozen=True)
class Probe:
    """A layer at three widths of one dim: two multiples of `STAIR`, and the one half-way."""

    grouped: bool
    calls: tuple[LayerCall, LayerCall, LayerCall]
    """From narrow to wide."""


def probes(layers: Sequence[Layer], grids: Sequence[tuple[Grid, Grid]]) -> list[Probe]:
    """Choose what to time: every dim that moves, near half of it, with the other one whole.

    Args:
        layers: Of a network.
        grids: Outer and inner widths that each is timed at.

    Returns:
        The probes; none for dims of a few blocks of channels or of many, nor for groups that are
        narrowed.
    """
    found = []
    for layer, (outers, inners) in zip(layers, grids, strict=True):
        grouped = layer.call.groups > 1
        if grouped and not layer.whole_groups:
            continue
        if widths := _around_half(outers):
            found.append(Probe(grouped, _three([layer.at(w, layer.call.inner) for w in widths])))
        if widths := _around_half(inners):
            found.append(Probe(grouped, _three([layer.at(layer.call.outer, w) for w in widths])))
    return found


def fitted(
    layers: Sequence[Layer], measured: Sequence[Probe], times: Sequence[Sequence[float]]
) -> list[float]:
    """Tell how far times go up in stairs, from 0 to 1.

    A single layer's times are not sure enough: all layers with groups count together, and all
    without.

    Args:
        layers: Of the network.
        measured: What `probes` returned.
        times: Milliseconds of their calls.

    Returns:
        A number per layer, as `Tables` takes it.
    """
    share = {}
    for grouped in (False, True):
        rows = [row for probe, row in zip(measured, times, strict=True) if probe.grouped is grouped]
        above = sum(half - (low + high) / 2 for low, half, high in rows)
        most = sum((high - low) / 2 for low, _, high in rows)
        share[grouped] = min(max(above / most, 0.0), 1.0) if most > 0 else 0.0
    return [share[layer.call.groups > 1] for layer in layers]


def _around_half(widths: Grid) -> tuple[int, ...]:
    full = widths[-1]
    if len(widths) == 1 or usual_step(full) < STAIR or full > _WIDEST:
        return ()
    top = full // 2 // STAIR * STAIR
    return (top - STAIR, top - STAIR // 2, top) if top > STAIR else ()


def _three(calls: list[LayerCall]) -> tuple[LayerCall, LayerCall, LayerCall]:
    low, half, high = calls
    return low, half, high
