"""The handle of network slimming: the scales of normalisations, pulled towards zero.

Liu, Li, Shen, Huang, Yan, Zhang, "Learning Efficient Convolutional Networks through Network
Slimming" (ICCV 2017, arXiv:1708.06519).
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from widthwise.errors import SearchError
from widthwise.graph import ChannelGraph
from widthwise.search.handles.base import Ground
from widthwise.search.handles.checks import (
    learning_rates,
    require_finite,
    require_non_negative,
)
from widthwise.search.handles.floors import Floors
from widthwise.search.limits import Limits
from widthwise.search.prox import soft_threshold

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Gammas:
    """The scales that normalisations have for every channel, soft-thresholded after every step.

    Nothing is put into the network: what is learned are its own parameters, so it goes on from the
    weights it has. A unit whose channels several normalisations see, as those of a residual stage,
    is as important as the largest of its scales: it carries nothing only when all of them are zero.
    Axes whose units no scale belongs to, and those of scales that are not trained, stay whole.

    Args:
        graph: Trace of ``model``.
        model: The network.
        limits: What no plan may go below; an axis that is down to its floor is not shrunk further.
        sparsity: Strength of the regulariser: every step moves the scales by ``sparsity * lr``.
        prune_threshold: Units with a scale of at least this magnitude count as kept.

    Raises:
        ConfigError: If a number is out of range, or a limit names no axis.
        SearchError: If no unit that may be removed has a scale.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        limits: Limits,
        sparsity: float,
        prune_threshold: float,
    ) -> None:
        require_non_negative(sparsity=sparsity, prune_threshold=prune_threshold)
        self.model = model
        self._sparsity, self._prune_threshold = sparsity, prune_threshold
        found = _scales(graph, model)
        self._scales = [scale for scale, _ in found]
        self._units = torch.from_numpy(
            np.concatenate([np.empty(0, np.int64), *(u for _, u in found)])
        )
        self._count = graph.unit_count
        self.driven = np.zeros(graph.unit_count, bool)
        self.driven[self._units.numpy()] = True
        limits = limits.only(graph, self.driven)
        if not limits.axes(graph):
            raise SearchError(
                f"`{type(model).__name__}` has no axis to narrow whose units a normalisation "
                "scales.\n"
                "Why: network slimming tells units apart by these scales.\n"
                "Hint: `ww.methods.sss` and `ww.methods.growing_reg` need none."
            )
        self._floors = Floors.of(graph, limits)

    def attach(self) -> None:
        """Put nothing into the network."""

    def detach(self) -> None:
        """Take nothing out."""

    def write(self) -> None:
        """Leave the parameters as they are: the network computes with them."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Add none."""
        return ()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Move every scale by ``sparsity`` times its learning rate, stopping at zero.

        Those of axes that are down to their floor stay where they are.

        Args:
            optimizer: It trains the network.

        Raises:
            SearchError: If the optimizer lacks a scale, or training has diverged.
        """
        rates = learning_rates(optimizer, self._scales, "scales of normalisations")
        largest = self._largest()
        active = self._floors.shrinking(largest, self._prune_threshold)
        for scale, units in zip(self._scales, self._split(), strict=True):
            moved = soft_threshold(scale, self._sparsity * rates[scale])
            scale.copy_(torch.where(active[units], moved, scale))
        # Reading a value makes an accelerator wait for it; the CPU has nothing to wait for.
        if largest.device.type == "cpu":
            require_finite(largest, "scales of normalisations")

    def importance(self) -> np.ndarray:
        """Score every unit by the largest magnitude of its scales; 0 for units without.

        Returns:
            Float64, shape ``[u]``.

        Raises:
            SearchError: If training has diverged.
        """
        largest = self._largest()
        require_finite(largest, "scales of normalisations")
        return largest.cpu().double().numpy()

    def alive(self) -> np.ndarray:
        """Tell which units have a scale above the threshold, floors respected.

        Returns:
            Bool, shape ``[u]``.

        Raises:
            SearchError: If training has diverged.
        """
        largest = self._largest()
        require_finite(largest, "scales of normalisations")
        return self._floors.kept(largest, self._prune_threshold)

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> None:
        """See `Handle`: the network that was traced is the one to cut."""

    @torch.no_grad()
    def _largest(self) -> Tensor:
        """The largest magnitude among the scales of every unit, shape ``[u]``."""
        every = torch.cat([scale.flatten() for scale in self._scales]).abs()
        if self._units.device != every.device:
            self._units = self._units.to(every.device)
        return every.new_zeros(self._count).scatter_reduce(0, self._units, every, "amax")

    def _split(self) -> tuple[Tensor, ...]:
        """The unit of every entry of each scale."""
        return self._units.split([scale.numel() for scale in self._scales])


def _scales(graph: ChannelGraph, model: nn.Module) -> list[tuple[nn.Parameter, np.ndarray]]:
    """Find the scales of normalisations that are trained, each with the units of its entries."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found: dict[str, tuple[nn.Parameter, np.ndarray]] = {}
    for module in model.modules():
        scale = module._parameters.get("weight") if isinstance(module, _NORMS) else None
        if scale is None or not scale.requires_grad or scale.dim() != 1:
            continue
        name = names[id(scale)]
        units = graph.slots.get(name, (None,))[0]
        if units is not None:
            found[name] = scale, units
    return list(found.values())
