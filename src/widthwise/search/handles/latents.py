"""DHP's handle: a latent per unit, from which a hypernetwork generates the weights.

Li et al., "DHP: Differentiable Meta Pruning via HyperNetworks" (ECCV 2020, arXiv:2003.13683).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from widthwise.graph import ChannelGraph
from widthwise.network.sharding import fill, whole
from widthwise.search.handles.base import Ground
from widthwise.search.handles.checks import (
    learning_rates,
    require_finite,
    require_non_negative,
)
from widthwise.search.handles.floors import Floors
from widthwise.search.handles.hyper_conv import HyperConv
from widthwise.search.limits import Limits
from widthwise.search.prox import Prox, SoftThreshold


class Latents:
    """A latent per unit, pulled towards zero after every step of the optimizer.

    The weights between two layers are generated from the latents of their units; see `HyperConv`.
    One vector holds the latents of the whole network, so a step is one call of the prox.

    Args:
        graph: Trace of ``model``.
        model: The network. Changed by `attach` only.
        limits: What no plan may go below; an axis that is down to its floor is not shrunk further.
        sparsity: Strength of the regulariser: every step moves the latents by ``sparsity * lr``.
        prune_threshold: Latents of at least this magnitude count as kept.
        embedding_dim: Length of the embedding of a pair of units.
        prox: What shrinks the latents; `SoftThreshold` by default.
        seed: Seed of latents and hypernetwork. The global random state is not touched.

    Raises:
        ConfigError: If a number is out of range, or a limit names no axis.
        SearchError: If no weight can be generated, if a weight is already parametrized, or if
            weights differ in device or dtype.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        limits: Limits,
        sparsity: float,
        prune_threshold: float,
        embedding_dim: int = 8,
        prox: Prox | None = None,
        seed: int = 1,
    ) -> None:
        require_non_negative(sparsity=sparsity, prune_threshold=prune_threshold)
        searched = np.zeros(graph.unit_count, dtype=bool)
        for axis in limits.axes(graph):
            searched[axis.units] = True
        self.model = model
        self._weights = HyperConv(
            graph, model, searched=searched, embedding_dim=embedding_dim, seed=seed
        )
        self.driven = self._weights.driven
        self._floors = Floors.of(graph, limits.only(graph, self.driven))
        self._prox = SoftThreshold() if prox is None else prox
        self._sparsity, self._prune_threshold = sparsity, prune_threshold

    @property
    def latents(self) -> nn.Parameter:
        """The latent vector of the whole network, shape ``[u]``; its order is the graph's."""
        return self._weights.latents

    def attach(self) -> None:
        """See `Handle`."""
        self._weights.attach()

    def detach(self) -> None:
        """See `Handle`."""
        self._weights.detach()

    def write(self) -> None:
        """See `Handle`."""
        self._weights.write()

    def parameters(self) -> Iterable[nn.Parameter]:
        """Latents and hypernetwork."""
        return self._weights.parameters()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Move the latents by ``sparsity`` times the learning rate of their parameter group.

        Those of axes that are down to their floor stay where they are.

        Args:
            optimizer: It trains the network and the parameters of this handle.

        Raises:
            SearchError: If the optimizer lacks parameters of this handle, or training has diverged.
        """
        rates = learning_rates(optimizer, self.parameters(), "latents")
        distance = self._sparsity * rates[self.latents]
        latents = whole(self.latents)
        moved = self._prox(latents, distance, self._floors.axis_of_unit(latents.device))
        active = self._floors.shrinking(latents, self._prune_threshold)
        fill(self.latents, torch.where(active, moved, latents))
        # Reading a value makes an accelerator wait for it; the CPU has nothing to wait for.
        if latents.device.type == "cpu":
            require_finite(latents, "latents")

    def importance(self) -> np.ndarray:
        """Score every unit by the magnitude of its latent.

        Returns:
            Float64, shape ``[u]``.

        Raises:
            SearchError: If training has diverged.
        """
        latents = whole(self.latents)
        require_finite(latents, "latents")
        return latents.detach().abs().cpu().double().numpy()

    def alive(self) -> np.ndarray:
        """Tell whose latents are above the threshold, floors respected.

        Returns:
            Bool, shape ``[u]``.

        Raises:
            SearchError: If training has diverged.
        """
        latents = whole(self.latents)
        require_finite(latents, "latents")
        return self._floors.kept(latents, self._prune_threshold)

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> None:
        """See `Handle`: the network that was traced is the one to cut."""
