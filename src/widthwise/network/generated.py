"""Weights that a search computes, and networks with such weights made plain again."""

from __future__ import annotations

from typing import Protocol, cast

import torch
from torch import Tensor, nn

from widthwise.network.copying import copy_module, walk


class Source(Protocol):
    """Computes the weights of a network."""

    def weight(self, index: int) -> Tensor:
        """Return the weight of one layer."""
        ...


class Generated(nn.Module):
    """The parametrization of one weight: ignores the stored value and asks its source.

    Args:
        source: Shared by all layers; a module.
        index: Which of its layers this is.
        owns: Whether the source is registered here; in exactly one place of the network.
    """

    def __init__(self, source: Source, index: int, *, owns: bool) -> None:
        super().__init__()
        if owns:
            self.hypernetwork = source
        # In a tuple, so that it is not registered as a submodule of every layer.
        self._source = (source,)
        self._index = index

    def forward(self, original: Tensor) -> Tensor:
        # A search in a network of half precision computes in full precision.
        weight = self._source[0].weight(self._index).to(original.dtype)
        # Layers whose image has one channel run channels-last only because of their weights.
        return weight.contiguous(memory_format=_layout(original))

    @property
    def source(self) -> Source:
        """What computes the weight."""
        return self._source[0]


class GateVector(nn.Module):
    """Numbers that parts of a network are multiplied by, all ones at first.

    Args:
        count: How many.
        device: Where they live.
    """

    def __init__(self, count: int, device: torch.device) -> None:
        super().__init__()
        self.gates = nn.Parameter(torch.ones(count, device=device))
        # Beside the parameter, so that a checkpoint of the network holds them too.
        self.register_buffer("held", torch.ones(count, device=device))
        self.register_buffer("moment", torch.zeros(count, device=device))

    held: Tensor
    """Their values before the step of the optimizer."""
    moment: Tensor
    """What their past leaves: a velocity, or a mean of squared gradients."""


class Gated(nn.Module):
    """The parametrization of one tensor: every index of a dim is multiplied by its gate.

    Args:
        source: Holds the gates; shared by all gated tensors.
        numbers: The gate of every index, int64.
        dim: Along which.
        owns: Whether the source is registered here; in exactly one place of the network.
    """

    def __init__(self, source: GateVector, numbers: Tensor, dim: int, *, owns: bool) -> None:
        super().__init__()
        if owns:
            self.gate_vector = source
        # In a tuple, so that it is not registered as a submodule of every layer.
        self._source = (source,)
        self.register_buffer("_numbers", numbers, persistent=False)
        self._dim = dim

    _numbers: Tensor

    def forward(self, original: Tensor) -> Tensor:
        gates = self._source[0].gates[self._numbers].to(original.dtype)
        shape = [1] * original.dim()
        shape[self._dim] = -1
        return original * gates.view(shape)

    @property
    def source(self) -> GateVector:
        """What holds the gates."""
        return self._source[0]


_BySearch = Generated | Gated


@torch.no_grad()
def without_search(model: nn.Module) -> nn.Module:
    """Return a network with the weights that a search computes for it as ordinary parameters.

    Args:
        model: The network, or a copy that was made while it was searched, such as an average of
            its weights; the search may be of a part of it. Not changed.

    Returns:
        A copy without the search; the very same network if no search is attached.
    """
    found = {path: made_by for path, each in walk(model) if (made_by := _by_search(each))}
    if not found:
        return model
    # Layers that share a weight share it afterwards.
    computed: dict[int, nn.Parameter] = {}
    for path, made_by in found.items():
        for name, each in made_by.items():
            stored = _stored(model.get_submodule(path), name)
            computed.setdefault(id(stored), nn.Parameter(each(stored)))
    plain = copy_module(model, lambda _, tensor: tensor.detach().clone())
    sources = {
        id(each.source) for path in found for each in _by_search(plain.get_submodule(path)).values()
    }
    for _, module in walk(plain):
        for table in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in list(table.items()):
                if id(getattr(hook, "__self__", None)) in sources:
                    table.pop(key)
    for path, made_by in found.items():
        layer = plain.get_submodule(path)
        # Not with PyTorch's own function: copies have one class in common, which that would change.
        del layer._modules["parametrizations"]
        layer.__class__ = type(layer).__bases__[0]
        rest = dict(layer._parameters)
        layer._parameters.clear()
        for name in made_by:
            stored = _stored(model.get_submodule(path), name)
            layer.register_parameter(name, computed[id(stored)])
        layer._parameters.update(rest)
    return plain


def _by_search(module: nn.Module) -> dict[str, _BySearch]:
    """Return the parametrizations of a module that a search has made, by the tensor's name."""
    lists = getattr(module._modules.get("parametrizations"), "_modules", {})
    first = {name: next(iter(each or ()), None) for name, each in lists.items()}
    return {name: each for name, each in first.items() if isinstance(each, _BySearch)}


def _stored(module: nn.Module, name: str) -> Tensor:
    """Return what is stored in the place of a computed tensor."""
    return cast(Tensor, cast(nn.ModuleDict, module.parametrizations)[name].original)


def _layout(tensor: Tensor) -> torch.memory_format:
    """Tell how a weight lies in memory."""
    for layout, dims in ((torch.channels_last, 4), (torch.channels_last_3d, 5)):
        last = tensor.dim() == dims and tensor.is_contiguous(memory_format=layout)
        if last and not tensor.is_contiguous():
            return layout
    return torch.contiguous_format
