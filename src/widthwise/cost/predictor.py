"""Milliseconds of any plan of a network, from tables of its layers and three whole networks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from widthwise.cost import stairs
from widthwise.cost.layers import Layer, layers_of
from widthwise.graph import ChannelGraph
from widthwise.latency.calls import LayerCall
from widthwise.latency.engines import Setting, random_inputs, with_values
from widthwise.latency.meter import Meter
from widthwise.latency.multiples import usual_step
from widthwise.latency.tables import Table, Tables
from widthwise.network.copying import copy_module, named_tensors
from widthwise.network.narrowing import narrow_module

_SHARES = (0.75, 0.5)
"""Of the units of every axis, in the narrow networks that are measured to fit what is no layer."""
_TRUST = 0.1
"""Weight of the belief that a layer takes in a network what it takes alone, against one network."""


class Predictor:
    """Predicts the milliseconds of any plan of one network; never less for a wider one.

    The time is ``c x (sum of times of layers) + a x (bytes that operators write) + b``. Times of
    layers are measured alone, over their widths. The three numbers, none of them negative, are
    fitted to the full network and two that are narrowed uniformly: what normalisations,
    activations and copies take grows with what is written, and a layer in a network finds its
    weights in a slower memory than one that is run again and again. The rows that a linear layer is
    run on are taken to stay as many, also where they are channels, as in a mixer of tokens.

    Args:
        graph: The network; its model is run.
        setting: Batch, engine and threads.
        meter: What measures.
    """

    def __init__(self, graph: ChannelGraph, setting: Setting, meter: Meter) -> None:
        # Imported here: half of the time that `import widthwise` would take.
        from scipy.optimize import nnls
        from scipy.sparse import csr_array

        self.setting, self.meter = setting, meter
        self._inputs = random_inputs(graph.inputs, setting.batch)
        layers = layers_of(graph, self._inputs)
        self._tables = _measured(layers, graph.free, meter)
        # A row per dim: which units are counted, or how long it is.
        dims = [each.outer for each in layers] + [each.inner for each in layers]
        sizes = [each.call.outer for each in layers] + [each.call.inner for each in layers]
        rows = [np.empty(0, np.int64) if units is None else units for units in dims]
        columns = np.concatenate([np.empty(0, np.int64), *rows])
        pointers = np.cumsum([0, *(len(row) for row in rows)])
        self._counts = csr_array(
            (np.ones(len(columns), np.int64), columns, pointers), (len(rows), graph.unit_count)
        )
        self._fixed = np.array(
            [size if units is None else 0 for size, units in zip(sizes, dims, strict=True)],
            np.int64,
        )
        masks = [graph.everything, *(_uniform(graph, share) for share in _SHARES)]
        times = np.array(
            meter.networks([self.network(graph, mask) for mask in masks], self._inputs)
        )
        self._written = max(graph.activation_bytes(), 1)
        terms = np.array([self._terms(graph, mask) for mask in masks])
        # Each network counts alike, whatever it takes.
        layers_first = np.array([_TRUST, 0.0, 0.0])
        fitted, _ = nnls(
            np.vstack([terms / times[:, None], layers_first]),
            np.array([1.0] * len(times) + [_TRUST]),
        )
        self._fitted = fitted

    def milliseconds(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Predict what a plan takes.

        Args:
            graph: The network that this was made for.
            kept: Which units stay, bool, shape ``[units]``.

        Returns:
            Milliseconds.
        """
        return float(self._terms(graph, kept) @ self._fitted)

    def measure(self, networks: Sequence[nn.Module]) -> list[float]:
        """Measure whole networks in turns, on the inputs of this one."""
        return self.meter.networks(networks, self._inputs)

    @staticmethod
    def network(graph: ChannelGraph, kept: np.ndarray) -> nn.Module:
        """Return the network at a plan's widths, without a proof: it is only run.

        Where the full one has no values, small constants stand in for them.
        """
        small = narrow_module(graph.model, graph.slots, graph.resized, kept)
        if not any(tensor.is_meta for _, tensor in named_tensors(small)):
            return small
        return copy_module(small, lambda _, tensor: with_values(tensor))

    def _terms(self, graph: ChannelGraph, kept: np.ndarray) -> np.ndarray:
        counts = self._counts @ kept.astype(np.int64) + self._fixed
        outer, inner = np.split(counts, 2)
        written = graph.activation_bytes(kept) / self._written
        return np.array([self._tables.total(outer, inner), written, 1.0])


def _measured(layers: Sequence[Layer], free: np.ndarray, meter: Meter) -> Tables:
    grids = [each.grids(free) for each in layers]
    calls = [
        each.at(outer, inner)
        for each, (outers, inners) in zip(layers, grids, strict=True)
        for outer in outers
        for inner in inners
    ]
    probes = stairs.probes(layers, grids)
    times = iter(_times(calls + [call for probe in probes for call in probe.calls], meter))
    tables = [
        Table.of(outers, inners, [next(times) for _ in range(len(outers) * len(inners))])
        for outers, inners in grids
    ]
    found = [[next(times) for _ in probe.calls] for probe in probes]
    most = [(each.call.outer, each.call.inner) for each in layers]
    return Tables(tables, most, stairs.fitted(layers, probes, found))


def _times(calls: Sequence[LayerCall], meter: Meter) -> list[float]:
    """Measure every kind of call once: many layers of a network are alike."""
    kinds = {call.key: call for call in calls}
    known = dict(zip(kinds, meter.layers(list(kinds.values())), strict=True))
    return [known[call.key] for call in calls]


def _uniform(graph: ChannelGraph, share: float) -> np.ndarray:
    """Return the mask that keeps a share of the units of every free axis, aligned."""
    mask = graph.everything.copy()
    for axis in graph.axes.values():
        if axis.frozen is None:
            step = usual_step(axis.width, axis.unit_size)
            width = max(round(share * axis.width / step) * step, axis.floor, 1)
            mask[axis.units.start + min(width, axis.width) : axis.units.stop] = False
    return mask
