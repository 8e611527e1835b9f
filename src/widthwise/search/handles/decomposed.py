"""A network in all the ways in which some of its convolutions can be decomposed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from widthwise.graph import Axis, ChannelGraph, trace
from widthwise.network.copying import copy_module, to_meta
from widthwise.network.inputs import Inputs
from widthwise.rewrites import Decompose, Rewrite
from widthwise.rewrites.decompose import Kind
from widthwise.search.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the ways.

    Attributes:
        layers: Paths of the layers that are two convolutions in it.
        graph: Its trace.
        before: What makes it of the network.
    """

    layers: tuple[str, ...]
    graph: ChannelGraph
    before: tuple[Rewrite, ...] = ()


class Decomposed:
    """Traces of a network with some of its convolutions decomposed.

    Args:
        model: The network. Not changed.
        graph: Its trace.
        layers: Paths of all convolutions that may be decomposed.
    """

    def __init__(self, model: nn.Module, graph: ChannelGraph, layers: Sequence[str]) -> None:
        self._inputs: Inputs = graph.inputs
        self._bare = copy_module(model, to_meta)
        self._known: dict[tuple[str, ...], Variant] = {(): Variant(layers=(), graph=graph)}
        self._networks: list[nn.Module] = []
        self.full = self.at(layers)

    def at(self, layers: Sequence[str]) -> Variant:
        """Return the network in which these layers are decomposed."""
        key = tuple(layers)
        if key not in self._known:
            rewrite = Decompose(key, Kind.SVD)
            network = rewrite.apply(self._bare, self._inputs)
            # A graph remembers its network only while somebody holds that.
            self._networks.append(network)
            self._known[key] = Variant(
                layers=key, graph=trace(network, self._inputs), before=(rewrite,)
            )
        return self._known[key]

    def of(self, graph: ChannelGraph) -> Variant:
        """Return the network that was traced as this."""
        return next(variant for variant in self._known.values() if variant.graph is graph)

    def limits(self, variant: Variant, limits: Limits) -> Limits:
        """Put limits on the axes of the network itself in terms of those of a variant.

        Ranks are axes of their own: floors and alignment that name no axis hold for them too.

        Args:
            variant: One of the networks.
            limits: As the user gave them.

        Returns:
            Limits that hold for the trace of the variant.
        """
        own = self.at(()).graph
        allowed = {axis.name for axis in limits.axes(own)}
        everywhere = 0.0 if isinstance(limits.min_keep, Mapping) else limits.min_keep
        aligned = None if isinstance(limits.round_to, Mapping) else limits.round_to
        ranks = replace(limits, min_keep=everywhere, round_to=aligned, include=None, exclude=None)
        keep: dict[str, float] = {}
        origins: dict[str, Axis] = {}
        excluded = []
        for name, axis in variant.graph.axes.items():
            if axis.frozen is not None:
                continue
            layer, _, part = name.rpartition(".")
            two = layer in variant.layers
            if two and part == "0":
                keep[name] = ranks.floor(axis) / axis.width
                continue
            known = origins[name] = own.axes[layer if two else name]
            keep[name] = limits.floor(known) / known.width
            if known.name not in allowed:
                excluded.append(name)
        round_to = limits.round_to_of(origins)
        return Limits(min_keep=keep, round_to=round_to, exclude=excluded)

    def worth_it(self, variant: Variant, kept: np.ndarray) -> Variant:
        """Leave those layers whole that cost no more so, at the widths that would be kept.

        Args:
            variant: Where the widths are.
            kept: Bool, shape ``[units]``.

        Returns:
            The same variant if there are none.
        """
        layers = tuple(path for path in variant.layers if _cheaper(variant.graph, path, kept))
        return variant if layers == variant.layers else self.at(layers)


def _cheaper(graph: ChannelGraph, path: str, kept: np.ndarray) -> bool:
    """Tell whether two convolutions cost less than one of their inputs and outputs."""

    def width(name: str, dim: int) -> int:
        units = graph.slots[name][dim]
        return weights[name].shape[dim] if units is None else int(kept[units].sum())

    first, last = f"{path}.0.weight", f"{path}.1.weight"
    weights = {name: graph.model.get_parameter(name) for name in (first, last)}
    taps = weights[first][0, 0].numel()
    rank, inputs, outputs = width(first, 0), width(first, 1), width(last, 0)
    return rank * (inputs * taps + outputs) < inputs * taps * outputs
