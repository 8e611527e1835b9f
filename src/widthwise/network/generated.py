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
        return self._source[0].weight(self._index).to(original.dtype)

    @property
    def source(self) -> Source:
        """What computes the weight."""
        return self._source[0]

    @property
    def index(self) -> int:
        """Which of the weights of the source this is."""
        return self._index


@torch.no_grad()
def without_search(model: nn.Module) -> nn.Module:
    """Return a network with the weights that a search computes for it as ordinary parameters.

    Args:
        model: The network, or a copy that was made while it was searched, such as an average of
            its weights; the search may be of a part of it. Not changed.

    Returns:
        A copy without the search; the very same network if no search is attached.
    """
    found = {path: made_by for path, each in walk(model) if (made_by := _generated(each))}
    if not found:
        return model
    # Layers that share a weight share it afterwards.
    weights = {
        (id(made_by.source), made_by.index): nn.Parameter(
            cast(Tensor, model.get_submodule(path).weight)
        )
        for path, made_by in found.items()
    }
    plain = copy_module(model, lambda _, tensor: tensor.detach().clone())
    copied = (_generated(plain.get_submodule(path)) for path in found)
    sources = {id(made_by.source) for made_by in copied if made_by is not None}
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
        layer.register_parameter("weight", weights[id(made_by.source), made_by.index])
        layer._parameters.update(rest)
    return plain


def _generated(module: nn.Module) -> Generated | None:
    """Return the parametrization of a weight by a search, if it has one."""
    made_by = module._modules.get("parametrizations")
    lists = getattr(made_by, "_modules", {})
    first = next(iter(lists.get("weight") or ()), None)
    return first if isinstance(first, Generated) else None
