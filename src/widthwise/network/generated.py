"""Weights that a search computes, and networks with such weights made plain again."""

from __future__ import annotations

from typing import Any, Protocol

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
        return self._source[0].weight(self._index)

    def hooks(self, module: nn.Module) -> list[tuple[dict[int, Any], int]]:
        """Return the hooks of a module that its source has hung there: tables and keys."""
        return [
            (table, key)
            for table in (module._forward_pre_hooks, module._forward_hooks)
            for key, hook in table.items()
            if getattr(hook, "__self__", None) is self._source[0]
        ]


@torch.no_grad()
def settled(model: nn.Module) -> nn.Module:
    """Return a network with the weights that a search computes for it as ordinary parameters.

    Args:
        model: The network, or a copy that was made while it was searched, such as an average of
            its weights. Not changed.

    Returns:
        A copy without the search; the very same network if no search is attached.
    """
    made = {
        path: module.weight.detach().clone()  # type: ignore[operator, union-attr]
        for path, module in walk(model)
        if _generated(module) is not None
    }
    if not made:
        return model
    plain = copy_module(model, lambda _, tensor: tensor.detach().clone())
    for path, weight in made.items():
        layer = plain.get_submodule(path)
        parametrization = _generated(layer)
        assert parametrization is not None
        for table, key in parametrization.hooks(plain):
            table.pop(key)
        # Not with PyTorch's own function: copies have one class in common, which that would change.
        del layer._modules["parametrizations"]
        layer.__class__ = type(layer).__bases__[0]
        rest = dict(layer._parameters)
        layer._parameters.clear()
        layer.register_parameter("weight", nn.Parameter(weight))
        layer._parameters.update(rest)
    return plain


def _generated(module: nn.Module) -> Generated | None:
    """Return the parametrization of a weight by a search, if it has one."""
    made_by = module._modules.get("parametrizations")
    lists = getattr(made_by, "_modules", {})
    first = next(iter(lists.get("weight") or ()), None)
    return first if isinstance(first, Generated) else None
