"""The layers with weights of a network: what they compute, and which units they compute it on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from widthwise.graph import ChannelGraph
from widthwise.latency.calls import Kind, LayerCall, calls_in
from widthwise.latency.engines import with_values
from widthwise.latency.tables import grid
from widthwise.network.copying import copy_module
from widthwise.network.inputs import Inputs
from widthwise.rules import UnitNumbers


@dataclass(frozen=True)
class Layer:
    """A layer of the network, and the units along its two dims; None where a dim does not move."""

    call: LayerCall
    outer: UnitNumbers | None
    inner: UnitNumbers | None
    whole_groups: bool
    """Whether its groups are kept or removed as a whole, rather than all narrowed alike."""

    @property
    def _grouped(self) -> int:
        """Length of the dim that runs over all groups."""
        transposed = self.call.kind is Kind.transposed
        return self.call.inner if transposed else self.call.outer

    def _step(self) -> int:
        groups = self.call.groups
        return self._grouped // groups if self.whole_groups else groups

    def grids(self, free: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Choose the widths to measure it at.

        Args:
            free: Which units a plan may remove, bool, shape ``[units]``.

        Returns:
            Outer widths and inner ones, in order.
        """
        transposed = self.call.kind is Kind.transposed
        steps = (1, self._step()) if transposed else (self._step(), 1)
        sides = ((self.call.outer, self.outer), (self.call.inner, self.inner))
        outer, inner = (
            grid(full, step, moves=units is not None and bool(free[units].any()))
            for (full, units), step in zip(sides, steps, strict=True)
        )
        return outer, inner

    def at(self, outer: int, inner: int) -> LayerCall:
        """Return the call at other widths; groups that are removed as a whole are fewer then."""
        groups = self.call.groups
        if self.whole_groups:
            grouped = inner if self.call.kind is Kind.transposed else outer
            groups = max(groups * grouped // self._grouped, 1)
        return self.call.at(outer, inner, groups)


def layers_of(graph: ChannelGraph, inputs: Inputs) -> list[Layer]:
    """List the calls of layers in one forward pass.

    Args:
        graph: The network; a copy of its model is run.
        inputs: Of the batch to measure, on the CPU.

    Returns:
        The layers, in order; see `widthwise.latency.calls.calls_in`.
    """
    model = copy_module(graph.model, lambda _, tensor: with_values(tensor).cpu()).eval()
    return [_layer(graph, *found) for found in calls_in(model, inputs)]


def _layer(graph: ChannelGraph, weight: str, call: LayerCall) -> Layer:
    slots = graph.slots[weight]
    transposed = call.kind is Kind.transposed
    outer, inner = (slots[1], slots[0]) if transposed else (slots[0], slots[1])
    grouped = inner if transposed else outer
    whole = False
    if grouped is not None and call.groups > 1:
        first = grouped[: len(grouped) // call.groups]
        whole = bool((first == first[0]).all())
    return Layer(call, outer, inner, whole)
