"""Hinge's handle: a matrix behind every convolution, whose rows and columns go to zero.

Li, Gu, Mayer, Van Gool, Timofte, "Group Sparsity: The Hinge Between Filter Pruning and
Decomposition for Network Compression" (CVPR 2020, arXiv:2003.08935). We differ in four places:

1. Any network that traces is searched; channels that are tied are one group over all matrices.
2. A layer that is decomposed is realised by the singular values of the product, which is the
   closest of its rank; where rows are zero that is the product itself.
3. Thresholds of the annealing are shares of the penalty at the start.
4. The rates of all matrices are brought together, not those of two in each block.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from widthwise.errors import ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.network.generated import Generated
from widthwise.rewrites import Rewrite
from widthwise.search.handles.base import Ground
from widthwise.search.handles.checks import learning_rates, require_finite, require_non_negative
from widthwise.search.handles.decomposed import Decomposed, Variant
from widthwise.search.handles.floors import Floors
from widthwise.search.handles.group_norms import GroupNorms, Groups
from widthwise.search.handles.matrices import Matrices, Start
from widthwise.search.handles.site import Site
from widthwise.search.limits import Limits
from widthwise.search.prox import Prox, SoftThreshold

_STAGES = 0.5, 0.25
"""Shares of the penalty at which annealing makes it weaker."""
_TINY = 1e-30


class Attached:
    """A matrix attached to each of some convolutions, with group sparsity.

    Weights become ``matrix x filters``, and both are trained. After every step of the optimizer,
    the norms of rows or columns of the matrices are shrunk by a prox.

    Args:
        graph: Trace of ``model``.
        model: The network. Changed by `attach` only.
        layers: Paths of ordinary convolutions.
        groups: What is pulled to zero.
        start: What filters and matrices start from.
        limits: What no plan may go below, in terms of the axes of ``graph``; see `limits` for those
            of the decomposed network.
        sparsity: Strength of the regulariser; times the learning rate it is the step of the prox.
        threshold: Groups with a norm of at least this are kept.
        prox: What shrinks the norms; `SoftThreshold` by default.
        balanced: Whether the step is times the mean norm that the groups of an axis started with.
        annealing: If above zero, the step is divided by this when the norms have come down to half
            of what they were in sum, and once more at a quarter.
        lr_ratio: Learning rate of the matrices, in units of that of the optimizer.
        adjusted: Whether matrices with large gradients take smaller steps, and others larger ones.
        warm_up: Steps at the start in which nothing is shrunk.

    Raises:
        ConfigError: If a number is out of range, or a limit names no axis.
        SearchError: If there is no layer, or weights have no values.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        layers: Sequence[str],
        groups: Groups,
        start: Start,
        limits: Limits,
        sparsity: float,
        threshold: float,
        prox: Prox | None = None,
        balanced: bool = False,
        annealing: float = 0.0,
        lr_ratio: float = 1.0,
        adjusted: bool = False,
        warm_up: int = 0,
    ) -> None:
        require_non_negative(
            sparsity=sparsity, threshold=threshold, annealing=annealing, warm_up=warm_up
        )
        if not (math.isfinite(lr_ratio) and lr_ratio > 0):
            raise ConfigError(f"`lr_ratio` must be a finite number above 0, got {lr_ratio!r}.")
        self.model, self._groups, self._layers = model, groups, tuple(layers)
        modules = [model.get_submodule(path) for path in layers]
        weights = [module.get_parameter("weight") for module in modules]
        _require_layers(model, weights)
        ranked = () if groups is Groups.columns else self._layers
        self._variants = Decomposed(model, graph, ranked)
        self._matrices = Matrices(weights, start)
        self._stored = weights
        self._sites = [
            Site(module, {"weight": Generated(self._matrices, number, owns=number == 0)})
            for number, module in enumerate(modules)
        ]
        self._sparsity, self._threshold, self._own_limits = sparsity, threshold, limits
        self._prox = SoftThreshold() if prox is None else prox
        self._annealing, self._lr_ratio, self._adjusted = annealing, lr_ratio, adjusted
        self._warm_up = warm_up
        full = self._variants.full
        self._norms = GroupNorms(full, self._layers, groups)
        self.driven = self._norms.driven
        self.limits = self._variants.limits(full, limits)
        driven = self.limits.only(full.graph, self.driven)
        self._floors, self._axes = Floors.of(full.graph, driven), driven.axes(full.graph)
        norms = self._norms.of([m.detach() for m in self.matrices])
        self._strengths = [
            float(norms[axis.units].mean()) if balanced else 1.0 for axis in self._axes
        ]
        self._matrices.penalty.fill_(self._penalty(norms))

    @property
    def rewrites(self) -> tuple[Rewrite, ...]:
        """What makes the network of `graph` of the one that is searched."""
        return self._variants.full.before

    @property
    def graph(self) -> ChannelGraph:
        """Trace of the network in which every layer that may be is decomposed."""
        return self._variants.full.graph

    @property
    def matrices(self) -> Sequence[nn.Parameter]:
        """The attached matrices, each ``[outputs, filters]``: the transpose of the paper's."""
        return list(self._matrices.mix)

    def attach(self) -> None:
        """See `Handle`."""
        for site in self._sites:
            site.attach()
        for weight in self._stored:
            weight.requires_grad_(False)

    def detach(self) -> None:
        """See `Handle`."""
        for site in self._sites:
            site.detach()
        for weight in self._stored:
            weight.requires_grad_(True)

    @torch.no_grad()
    def write(self) -> None:
        """Store the products of filters and matrices; see `Handle`."""
        for number, weight in enumerate(self._stored):
            weight.copy_(self._matrices.weight(number))

    def parameters(self) -> Iterable[nn.Parameter]:
        """Filters and matrices."""
        return self._matrices.parameters()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Shrink the norms of the groups; those of axes that are down to their floor stay.

        Args:
            optimizer: It trains the network and the parameters of this handle.

        Raises:
            SearchError: If the optimizer lacks parameters of this handle, or training has diverged.
        """
        rates = learning_rates(optimizer, self.parameters(), "attached matrices")
        lr = rates[self._matrices.mix[0]] * self._lr_ratio
        self._matrices.take_step(self._lr_ratio, adjusted=self._adjusted)
        ready = int(self._matrices.steps) >= self._warm_up
        distance = self._sparsity * lr * self._annealed() if ready else 0.0
        for groups in (Groups.rows, Groups.columns):
            if self._groups in (groups, Groups.both):
                norms = self._norms.of(self.matrices)
                factors = self._moved(norms, distance) / norms.clamp_min(_TINY)
                self._norms.scale(self.matrices, factors, groups)
        self._matrices.remember()

    def _moved(self, norms: Tensor, distance: float) -> Tensor:
        """Return where the prox moves norms to."""
        moved = norms.clone()
        for axis, strength in zip(self._axes, self._strengths, strict=True):
            own = norms[axis.units]
            together = torch.zeros(len(own), dtype=torch.int64, device=own.device)
            moved[axis.units] = self._prox(own, distance * strength, together)
        return torch.where(self._floors.shrinking(norms, self._threshold), moved, norms)

    def importance(self) -> np.ndarray:
        """Score every unit by the norm of its group; see `Handle`."""
        return self._ground(self._variants.full).importance

    def alive(self) -> np.ndarray:
        """Tell whose norms are above the threshold, floors respected; see `Handle`."""
        return self._ground(self._variants.full).alive

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> Ground | None:
        """Leave layers whole that would be no cheaper as two; see `Handle`."""
        if kept is None:
            return None
        now = self._variants.of(ground.graph)
        better = self._variants.worth_it(now, kept)
        return None if better is now else self._ground(better)

    def _ground(self, variant: Variant) -> Ground:
        groups = GroupNorms(variant, self._layers, self._groups)
        norms = groups.of([m.detach() for m in self.matrices], in_order=True)
        require_finite(norms, "attached matrices")
        limits = self._variants.limits(variant, self._own_limits).only(variant.graph, groups.driven)
        return Ground(
            graph=variant.graph,
            before=variant.before,
            limits=limits,
            importance=norms.double().cpu().numpy(),
            alive=Floors.of(variant.graph, limits).kept(norms, self._threshold),
        )

    def _penalty(self, norms: Tensor) -> Tensor:
        return torch.stack([norms[axis.units].sum() for axis in self._axes]).sum()

    def _annealed(self) -> float:
        if not self._annealing:
            return 1.0
        norms = self._norms.of([m.detach() for m in self.matrices])
        left = float(self._penalty(norms) / self._matrices.penalty)
        return float(self._annealing ** -sum(left <= share for share in _STAGES))


def _require_layers(model: nn.Module, weights: Sequence[Tensor]) -> None:
    if not weights:
        raise SearchError(
            f"`{type(model).__name__}` has no convolution that a matrix could be attached to.\n"
            "Why: those with groups, shared weights, hooks or parametrized weights are left alone."
        )
