"""Attach DHP's hypernetwork to the convolutions and hidden linear layers of any traced network.

Li et al., "DHP: Differentiable Meta Pruning via HyperNetworks" (ECCV 2020, arXiv:2003.13683). The
weight between unit a and unit b is generated from the latents of a and b, so a unit whose latent
goes to zero fades from every layer that it is tied to. We differ in five places:

1. Any network that traces is searched; the authors wrote one network class per architecture.
2. Biases and the classifier are the network's own and start from its own values, not from zero.
3. In a grouped convolution, an index of the second weight dim serves every group and belongs to no
   unit. It has a private latent (the authors' "own latent of length n / groups").
4. Layers of equal kernel size are generated in one batch, once per forward pass of the network.
5. A weight whose output no normalisation sees starts with the standard deviation it has in the
   network itself, and with shorter embeddings; see "Where DHP starts" in docs/how_it_works.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

from widthwise.errors import SearchError
from widthwise.graph import ChannelGraph
from widthwise.network.copying import named_tensors
from widthwise.network.generated import Generated
from widthwise.search.handles.hypernetwork import GeneratedLayer, Hypernetwork
from widthwise.search.handles.site import Site

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class HyperConv:
    """Weights of convolutions and hidden linear layers, generated from latents.

    A linear layer is generated if the width of its output is searched, which that of a classifier
    never is. A weight that does not require gradients is not generated. Every other parameter of
    the network stays its own and trains as usual. Per generated weight there are ``(1 + 2 m) / k +
    m + 1`` parameters: 11 for a 3x3 kernel and 26 for a 1x1 kernel or a linear layer at m = 8.

    Attaching registers the hypernetwork inside the first generated layer, so
    ``model.parameters()``, ``model.state_dict()`` and ``model.to(...)`` include it, while code that
    walks the network's children meets nothing new.

    Args:
        graph: Trace of ``model``.
        model: The network. Changed by `attach` only.
        searched: Units whose axes may be narrowed, bool, shape ``[u]``; all free ones by default.
        embedding_dim: Length of the embedding of a pair of units; ``m`` in the paper.
        seed: Seed of latents and hypernetwork. The global random state is not touched.
        trained: Whether the hypernetwork is trained, or only the latents need gradients, which
            takes much less memory.

    Raises:
        SearchError: If no weight can be generated, if a weight is already parametrized, or if
            weights differ in device or dtype.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        searched: np.ndarray | None = None,
        embedding_dim: int = 8,
        seed: int = 1,
        trained: bool = True,
    ) -> None:
        self.model = model
        owners = _owners(model, graph, graph.free if searched is None else searched)
        if not owners:
            raise SearchError(
                f"`{type(model).__name__}` has no weight that could be generated.\n"
                "Why: the search generates the weights of nn.Conv*, nn.ConvTranspose* and hidden "
                "nn.Linear layers that the traced forward pass used.\n"
                "Hint: print(ww.trace(model, example_inputs)) lists the axes and why they are "
                "frozen."
            )
        device, dtype = _common(owners)
        layers, private_count = _layers(owners, graph, _normalised(model, graph))
        self._hypernetwork = Hypernetwork(
            layers,
            unit_count=graph.unit_count,
            private_count=private_count,
            embedding_dim=embedding_dim,
            seed=seed,
            device=device,
            dtype=dtype,
        )
        if not trained:
            self._hypernetwork.requires_grad_(False)
            self.latents.requires_grad_(True)
        self.driven = _driven(owners, graph)
        modules = [(m, i) for i, (_, holders) in enumerate(owners.values()) for m in holders]
        self._sites = [
            Site(module, {"weight": Generated(self._hypernetwork, index, owns=number == 0)})
            for number, (module, index) in enumerate(modules)
        ]
        self._stored = [parameter for parameter, _ in owners.values()]
        self._hooks: list[RemovableHandle] = []

    @property
    def latents(self) -> nn.Parameter:
        """The latents of all units, shape ``[u]``: another object once they are sharded."""
        return self._hypernetwork.latents

    def parameters(self) -> Iterable[nn.Parameter]:
        """Latents and hypernetwork."""
        return self._hypernetwork.parameters()

    def attach(self) -> None:
        """Parametrize the generated weights; the network's own stay inside, without gradient."""
        for site in self._sites:
            site.attach()
        for parameter in self._stored:
            parameter.requires_grad_(False)
        self._hooks = [
            self.model.register_forward_pre_hook(self._hypernetwork.hold, prepend=True),
            self.model.register_forward_hook(self._hypernetwork.release, always_call=True),
        ]

    def detach(self) -> None:
        """Remove the parametrizations and hooks; parameters return to their places."""
        for hook in self._hooks:
            hook.remove()
        self._hooks = []
        for site in self._sites:
            site.detach()
        for parameter in self._stored:
            parameter.requires_grad_(True)

    @torch.no_grad()
    def write(self) -> None:
        """Store the generated weights in the network's own parameters."""
        for index, parameter in enumerate(self._stored):
            parameter.copy_(self._hypernetwork.weight(index))


def driven_units(
    graph: ChannelGraph, model: nn.Module, searched: np.ndarray | None = None
) -> np.ndarray:
    """Tell which units take part in a weight that can be generated, without generating any.

    Args:
        graph: Trace of ``model``.
        model: The network; not changed.
        searched: Units whose axes may be narrowed, bool, shape ``[u]``; all free ones by default.

    Returns:
        Bool, shape ``[u]``.

    Raises:
        SearchError: If a weight is already parametrized.
    """
    return _driven(_owners(model, graph, graph.free if searched is None else searched), graph)


_Owners: TypeAlias = dict[str, tuple[nn.Parameter, list[nn.Module]]]
"""The weights to generate by name, each with the modules that hold it."""


def _owners(model: nn.Module, graph: ChannelGraph, searched: np.ndarray) -> _Owners:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    owners: _Owners = {}
    refused: set[str] = set()
    for path, module in model.named_modules():
        candidate = isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED, nn.Linear))
        if candidate and "weight" not in module._parameters:
            raise SearchError(
                f"The weight of `{path}` ({type(module).__name__}) is already computed from other "
                "tensors (weight_norm, spectral_norm or another parametrization).\n"
                "Why: the search would replace that computation by its own.\n"
                f"Hint: remove it first, for example with torch.nn.utils.parametrize."
                f"remove_parametrizations(module, 'weight') or torch.nn.utils.remove_weight_norm."
            )
        for key, parameter in module._parameters.items():
            name = names.get(id(parameter))
            if name is None or name not in graph.slots:
                continue
            wanted = parameter.requires_grad and (
                not isinstance(module, nn.Linear) or _any(graph.slots[name][0], searched)
            )
            if candidate and key == "weight" and wanted:
                owners.setdefault(name, (parameter, []))[1].append(module)
            else:
                # Shared with something that reads the stored value, such as an embedding.
                refused.add(name)
    return {name: owner for name, owner in owners.items() if name not in refused}


def _driven(owners: _Owners, graph: ChannelGraph) -> np.ndarray:
    driven = np.zeros(graph.unit_count, dtype=bool)
    for name in owners:
        for units in graph.slots[name][:2]:
            if units is not None:
                driven[units] = True
    return driven


def _any(units: np.ndarray | None, chosen: np.ndarray) -> bool:
    return units is not None and bool(chosen[units].any())


def _normalised(model: nn.Module, graph: ChannelGraph) -> np.ndarray:
    """Tell which units a normalisation sees, bool, shape ``[u]``."""
    names = {id(tensor): name for name, tensor in named_tensors(model)}
    seen = np.zeros(graph.unit_count, dtype=bool)
    for module in model.modules():
        if not isinstance(module, _NORMS):
            continue
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            for units in graph.slots.get(names.get(id(tensor), ""), ()):
                if units is not None:
                    seen[units] = True
    return seen


def _layers(
    owners: _Owners, graph: ChannelGraph, normalised: np.ndarray
) -> tuple[list[GeneratedLayer], int]:
    """Say which latents generate each weight; count the private ones."""
    layers = []
    following = graph.unit_count
    for name, (weight, (module, *_)) in owners.items():
        shape = tuple(weight.shape)
        numbers = []
        for length, slot in zip(shape[:2], graph.slots[name][:2], strict=True):
            if slot is None:
                slot = following + np.arange(length)
                following += length
            numbers.append(slot)
        # Of a transposed convolution, the first dim reads and the second one writes.
        fan_in, written = shape[1], 0
        if isinstance(module, _TRANSPOSED):
            fan_in, written = shape[0] // module.groups, 1
        outputs = graph.slots[name][written]
        std = weight.detach().float().std().item()
        layers.append(
            GeneratedLayer(
                name=name,
                shape=shape,
                rows=numbers[0],
                columns=numbers[1],
                fan_in=fan_in,
                # A weight of zeros would never move: it starts as the paper's do.
                std=None if _any(outputs, normalised) or not std > 0 else std,
            )
        )
    return layers, following - graph.unit_count


def _common(owners: _Owners) -> tuple[torch.device, torch.dtype]:
    """The one device and dtype of all weights."""
    (first_name, (first, _)), *_ = owners.items()
    for name, (weight, _) in owners.items():
        if weight.device != first.device or weight.dtype != first.dtype:
            raise SearchError(
                f"`{name}` is {weight.dtype} on {weight.device}, `{first_name}` is {first.dtype} "
                f"on {first.device}.\n"
                "Why: all weights are generated together, from one latent vector.\n"
                "Hint: bring the network to one device and dtype before the search starts."
            )
    if first.device.type == "meta":
        raise SearchError(
            f"`{first_name}` is on the meta device, so it cannot be trained.\n"
            "Hint: build the network with real weights; `ww.plan` needs none."
        )
    return first.device, first.dtype
