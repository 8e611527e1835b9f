"""Tensors of a network that are multiplied by gates of its units, and how they sat in it before."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.graph import ChannelGraph
from widthwise.network.generated import Gated, GateVector
from widthwise.search.handles.checks import require_finite
from widthwise.search.handles.site import Site

Owners = Mapping[str, tuple[nn.Module, str]]
"""Where each trained parameter is, by its name in the network: its module, and its name there."""


class GatedWeights:
    """Gates in a network, put in and taken out.

    Args:
        source: Holds the gates.
        numbers: Tensor by name -> the gate of every index of one of its dims, int64, and that dim.
        owners: Where these tensors are.
    """

    def __init__(
        self, source: GateVector, numbers: Mapping[str, tuple[np.ndarray, int]], owners: Owners
    ) -> None:
        self.source = source
        by_module: dict[nn.Module, dict[str, nn.Module]] = {}
        self._own: list[nn.Parameter] = []
        for name, (gates, dim) in numbers.items():
            module, key = owners[name]
            parameter = module.get_parameter(key)
            self._own.append(parameter)
            gated = Gated(
                source, torch.from_numpy(gates).to(parameter.device), dim, owns=not by_module
            )
            by_module.setdefault(module, {})[key] = gated
        self._sites = [Site(module, gated) for module, gated in by_module.items()]
        self._raw: list[Tensor] | None = None
        self._written: list[Tensor] | None = None

    @torch.no_grad()
    def attach(self) -> None:
        """Put the gates in; where they were taken out before, gates and weights are two again."""
        if self._raw is not None:
            self._store(self._raw)
        self._raw = self._written = None
        for site in self._sites:
            site.attach()

    @torch.no_grad()
    def detach(self) -> None:
        """Take the gates out, and store what `write` has computed, if anything."""
        for site in self._sites:
            site.detach()
        if self._written is not None:
            self._raw = [parameter.clone() for parameter in self._own]
            self._store(self._written)

    @torch.no_grad()
    def write(self) -> None:
        """Compute the gated weights; they are stored when the gates are taken out."""
        computed = {
            id(parameter): getattr(site.module, name).clone()
            for site in self._sites
            for name, parameter in site.parameters.items()
        }
        self._written = [computed[id(parameter)] for parameter in self._own]

    def sizes(self) -> Tensor:
        """Return the magnitudes of all gates.

        Raises:
            SearchError: If training has diverged.
        """
        gates = self.source.gates.detach()
        require_finite(gates, "gates")
        sums = torch.stack([weight.detach().sum() for weight in self._own])
        require_finite(sums, "gated weights")
        return gates.abs()

    def _store(self, values: Iterable[Tensor]) -> None:
        for parameter, each in zip(self._own, values, strict=True):
            parameter.copy_(each)


def owners_of(model: nn.Module) -> Owners:
    """Find every trained parameter, without those that two modules share."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    places: dict[str, list[tuple[nn.Module, str]]] = {}
    for module in model.modules():
        for key, parameter in module._parameters.items():
            if parameter is not None and parameter.requires_grad:
                places.setdefault(names[id(parameter)], []).append((module, key))
    return {name: found[0] for name, found in places.items() if len(found) == 1}


def readers_of(graph: ChannelGraph, owners: Owners) -> dict[str, int]:
    """Return the weights that read units, each with the dim along which it does."""
    return {
        name: dims[0]
        for name, dims in graph.consumers.items()
        if name in owners and len(dims) == 1 and graph.slots[name][dims[0]] is not None
    }


def read_only_by(graph: ChannelGraph, readers: Mapping[str, int]) -> np.ndarray:
    """Tell which units these weights read and no other ones, bool, shape ``[u]``."""
    by, otherwise = (np.zeros(graph.unit_count, bool) for _ in range(2))
    for name, dims in graph.consumers.items():
        for dim in dims:
            units = graph.slots[name][dim]
            if units is not None:
                (by if readers.get(name) == dim else otherwise)[units] = True
    return by & ~otherwise


def numbers_of(
    graph: ChannelGraph, readers: Mapping[str, int], searched: np.ndarray
) -> dict[str, tuple[np.ndarray, int]]:
    """Number the gates that each of these weights is multiplied by.

    Args:
        graph: The network; the gate of a unit has its number.
        readers: Weights, each with the dim along which it reads units.
        searched: Units whose gates may move, bool, shape ``[u]``.

    Returns:
        The gates by weight, and that dim; without weights that read no such unit.
    """
    found = {}
    for name, dim in readers.items():
        read = graph.slots[name][dim]
        if read is not None and searched[read].any():
            found[name] = read, dim
    return found
