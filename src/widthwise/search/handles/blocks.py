"""The network without some of its residual blocks, and what is known about its units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from torch import nn

from widthwise.graph import Axis, ChannelGraph, trace
from widthwise.network.generated import without_search
from widthwise.rewrites import Drop
from widthwise.search.handles.base import Ground
from widthwise.search.limits import Limits


class WithoutBlocks:
    """A network without some blocks, traced.

    Args:
        graph: Trace of ``model``.
        model: The network; it may be searched at the moment. Not changed.
        blocks: Paths of blocks that `Drop` can remove.
    """

    def __init__(self, graph: ChannelGraph, model: nn.Module, blocks: Sequence[str]) -> None:
        self.rewrite = Drop(tuple(blocks))
        # A graph holds its network weakly.
        self._network = self.rewrite.apply(without_search(model), graph.inputs)
        self._own, self._graph = graph, trace(self._network, graph.inputs)
        self._unit = _counterparts(graph, self._graph)

    def ground(self, ground: Ground) -> Ground:
        """Say what is known about a network of the one without the blocks.

        Args:
            ground: Of the network with all its blocks.

        Returns:
            The same of the units that are left.
        """
        known = self._unit >= 0
        return Ground(
            graph=self._graph,
            before=(*ground.before, self.rewrite),
            limits=self._limits(ground.limits),
            importance=np.where(known, ground.importance[self._unit], 0.0),
            alive=~known | ground.alive[self._unit],
        )

    def _limits(self, limits: Limits) -> Limits:
        """Put limits in terms of the axes that are left, whose names may be others."""
        free = {axis.name: axis for axis in limits.axes(self._own)}
        name_of = {unit: name for name, axis in free.items() for unit in _range(axis.units)}
        keep: dict[str, float] = {}
        origins: dict[str, Axis] = {}
        others: list[str] = []
        for axis in self._graph.axes.values():
            found = {name_of.get(int(self._unit[unit])) for unit in _range(axis.units)}
            wide = free.get(found.pop() or "")
            if wide is not None and not found:
                keep[axis.name] = limits.floor(wide) / wide.width
                origins[axis.name] = wide
            elif axis.frozen is None:
                others.append(axis.name)
        return replace(
            limits,
            min_keep=keep,
            round_to=limits.round_to_of(origins),
            include=None,
            exclude=others,
        )


def inside(graph: ChannelGraph, blocks: Sequence[str]) -> np.ndarray:
    """Tell which units only tensors inside some blocks have.

    Args:
        graph: The network.
        blocks: Paths of blocks.

    Returns:
        Bool, shape ``[units]``: those that go with the blocks.
    """
    inner, outer = (np.zeros(graph.unit_count, bool) for _ in range(2))
    for name, slots in graph.slots.items():
        within = any(name.startswith(f"{block}.") for block in blocks)
        for units in slots:
            if units is not None:
                (inner if within else outer)[units] = True
    return inner & ~outer


def _counterparts(graph: ChannelGraph, rest: ChannelGraph) -> np.ndarray:
    """For every unit of what is left of a network its unit in the whole; -1 if no tensor tells."""
    found = np.full(rest.unit_count, -1)
    for name, slots in rest.slots.items():
        for mine, theirs in zip(slots, graph.slots[name], strict=True):
            if mine is not None and theirs is not None:
                found[mine] = theirs
    return found


def _range(units: slice) -> range:
    return range(units.start, units.stop)
