"""LW-DNA: layer-wise widths read off one gradient of a widened network at initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from torch import Tensor, nn

from widthwise.arguments import network_in
from widthwise.cost import Budget, budgets_of, costs_of
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.graph import ChannelGraph, trace
from widthwise.graph.axes import OUTPUT
from widthwise.methods.base import Bench, Found
from widthwise.network.copying import named_tensors
from widthwise.network.initialisation import Build, draw_fresh
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.rewrites import Widen
from widthwise.search.handles.hyper_conv import driven_units
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.planning import require_reachable, select
from widthwise.search.scores import LatentGradient
from widthwise.search.seeding import seeded
from widthwise.shrinking import shrink


@dataclass(frozen=True, kw_only=True)
class LwDnaSettings:
    """Li et al., "The Heterogeneity Hypothesis" (CVPR 2021)."""

    name: Literal["lw_dna"] = "lw_dna"
    """Name of the method."""
    widen: float = 2.0
    """How many times as wide the network is from which widths are chosen."""
    rho: float = 0.4
    """Every axis keeps at least this share of its widened width."""
    tau: float = 0.45
    """The same for the axes that the layer reads which makes the network's output."""
    embedding_dim: int = 8
    """Length of the embedding of a pair of units in the hypernetwork: memory grows with it."""

    title: ClassVar[str] = "LW-DNA"
    trains: ClassVar[bool] = False
    inherits: ClassVar[bool] = False
    goes_on: ClassVar[bool] = False

    @property
    def before(self) -> tuple[Widen]:
        """The network is widened first."""
        return (Widen(self.widen),)

    def __post_init__(self) -> None:
        if not 1 <= self.widen < math.inf:
            raise ConfigError(f"`widen` must be a number of at least 1, got {self.widen!r}.")
        for name in ("rho", "tau"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"`{name}` must be within [0, 1], got {getattr(self, name)!r}.")
        if self.embedding_dim < 1:
            raise ConfigError(f"`embedding_dim` must be at least 1, got {self.embedding_dim!r}.")

    def narrow(
        self,
        model: nn.Module,
        example_inputs: Any,
        *,
        loss: Callable[[Any, Any], Tensor],
        batch: tuple[Any, Any],
        budget: Budget | Sequence[Budget],
        limits: Limits,
        factory: Build | None = None,
        seed: int = 1,
        verify: bool = True,
    ) -> tuple[nn.Module, Plan]:
        """Decide widths and build the network; see `lw_dna`.

        Args:
            model: Not changed.
            example_inputs: What the network is called with.
            loss: Called as ``loss(network(inputs), target)``.
            batch: One batch ``(inputs, target)``.
            budget: What the result may cost at most; a list for several.
            limits: What no plan may go below, in terms of ``model``'s own axes.
            factory: Builds the network with fresh weights.
            seed: Of whatever is random.
            verify: Prove the cut.

        Returns:
            The network with fresh weights, and its plan.

        Raises:
            SearchError: If the model has no weights.
        """
        model = network_in(model, "ww.methods.lw_dna(model, example_inputs, ...)")
        budgets = budgets_of(budget)
        bare = [name for name, tensor in named_tensors(model) if tensor.is_meta]
        if bare:
            raise SearchError(
                f"`{bare[0]}` is on the meta device, so no gradient can be computed.\n"
                "Hint: build the network with real weights."
            )
        own = trace(model, example_inputs)
        limits = limits.on(own, budgets)
        searched = limits.only(own, driven_units(own, model))
        rewrite, wide, graph = self._widened(model, example_inputs, own, searched)
        floors = self._floors(own, searched, graph)
        self._require_reachable(graph, budgets, floors, own)
        device = next(wide.parameters()).device
        with seeded(seed, device):
            draw_fresh(wide, factory)
        score = LatentGradient(loss=loss, batch=batch, embedding_dim=self.embedding_dim, seed=seed)
        kept = select(graph, score(graph), budgets, floors, full=own)
        plan = Plan.of(
            graph,
            kept,
            budgets=budgets,
            method=self.name,
            seed=seed,
            before=(rewrite,),
            full_cost=costs_of(own),
        )
        small = shrink(wide, plan, verify=verify)
        with seeded(seed, device):
            draw_fresh(small, factory)
        return small, plan

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Decide from one batch, without training; see `Method`."""
        small, plan = self.narrow(
            bench.network(),
            bench.example,
            loss=bench.loss,
            batch=bench.batch(),
            budget=budget,
            limits=limits,
            factory=bench.build,
            seed=seed,
        )
        return Found(network=small, plan=plan)

    def _widened(
        self, model: nn.Module, example_inputs: Any, own: ChannelGraph, limits: Limits
    ) -> tuple[Widen, nn.Module, ChannelGraph]:
        """Widen what may be narrowed again, and nothing else."""
        free = {name for name, axis in own.axes.items() if axis.frozen is None}
        wanted = {axis.name for axis in limits.axes(own)}
        inputs = Inputs.of(example_inputs)
        while True:
            (everywhere,) = self.before
            rewrite = replace(everywhere, exclude=tuple(n for n in own.axes if n in free - wanted))
            wide = rewrite.apply(model, inputs)
            graph = trace(wide, inputs)
            # A width that the code only takes as it is may go unnoticed until it is another one.
            stuck = {
                name
                for name in wanted
                if name not in graph.axes or graph.axes[name].frozen is not None
            }
            if not stuck:
                return rewrite, wide, graph
            wanted -= stuck

    def _floors(self, own: ChannelGraph, limits: Limits, graph: ChannelGraph) -> Limits:
        """Put the user's limits and the floors of the method in terms of the wide network."""
        last = feeding_output(graph)
        keep = {}
        origins = {}
        for axis in limits.axes(own):
            wide = graph.axes.get(axis.name)
            if wide is not None and wide.frozen is None:
                floor = limits.floor(axis) / wide.width
                keep[axis.name] = max(floor, self.rho, self.tau if axis.name in last else 0.0)
                origins[axis.name] = axis
        others = [n for n, axis in graph.axes.items() if axis.frozen is None and n not in keep]
        return Limits(min_keep=keep, round_to=limits.round_to_of(origins), exclude=others)

    def _require_reachable(
        self, graph: ChannelGraph, budgets: Sequence[Budget], floors: Limits, own: ChannelGraph
    ) -> None:
        try:
            require_reachable(graph, budgets, floors, full=own)
        except BudgetError as error:
            last = ", ".join(f"`{name}`" for name in sorted(feeding_output(graph))) or "no axis"
            raise BudgetError(
                f"{error}\n"
                f"Widths are those of the network {self.widen:g} times as wide, of which every "
                f"axis keeps `rho`={self.rho:g}, and {last} at least `tau`={self.tau:g}: lower "
                "these, or `widen`."
            ) from None


def lw_dna(
    model: nn.Module,
    example_inputs: Any,
    *,
    loss: Callable[[Any, Any], Tensor],
    batch: tuple[Any, Any],
    budget: Budget | Sequence[Budget],
    widen: float = 2.0,
    rho: float = 0.4,
    tau: float = 0.45,
    embedding_dim: int = 8,
    min_width: int = 1,
    round_to: RoundTo = 1,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    seed: int = 1,
    factory: Build | None = None,
    verify: bool = True,
) -> tuple[nn.Module, Plan]:
    """Layer-wise differentiated widths, found at initialisation: as costly as the network given.

    Li, Li, Danelljan, Zhang, Gu, Van Gool, Timofte, "The Heterogeneity Hypothesis: Finding
    Layer-Wise Differentiated Network Architectures" (CVPR 2021, arXiv:2006.16242). The network is
    widened; its weights are generated from a latent per unit; units are ranked by the gradient of
    one batch's loss with respect to their latents, at initialisation; as many stay as the budget
    allows, within the floors ``rho`` and ``tau``. The result is trained from scratch.

    Where we differ from the released code: the criterion is the gradient at initialisation, as in
    the paper, not the latents after two steps; the budget is met exactly, and refers to ``model``;
    any network that traces is widened, layer by layer, not only one with a width multiplier; shares
    are rounded up.

    Axes that may not be narrowed (`include`, `exclude`), and those that no generated weight
    touches, keep the width they have in ``model``.

    Args:
        model: The network. Not changed: neither weights nor gradients nor modes.
        example_inputs: What the network is called with: a tensor, a tuple or a dict.
        loss: Called once, as ``loss(network(inputs), target)``; returns a scalar.
        batch: ``(inputs, target)``, one random training batch. Brought to the model's device.
        budget: What the result may cost at most; ``ww.Macs(1.0)`` is the cost of ``model``. A list
            for several.
        widen: How many times as wide the network is from which widths are chosen.
        rho: Share of its widened width that every axis keeps at least.
        tau: The same for the axes read by the layer that makes the output, such as the features
            that a classifier gets. No effect below ``rho``.
        embedding_dim: Length of the embedding of a pair of units. The paper's ImageNet runs use 2,
            which needs the least memory: 3 to 8 times that of the widened weights.
        min_width: Channels that every axis keeps at least.
        round_to: Channels of every narrowed axis are a multiple of this.
        include: Axes that may change, by name or glob; all that are free by default.
        exclude: Axes that may not.
        seed: Of latents, hypernetwork and fresh weights. The global random state stays.
        factory: Builds a network like ``model``, such as ``lambda: Net(width=64)``. The fresh
            weights are then those that its constructor draws, at the new widths; without it, those
            of every layer's ``reset_parameters``.
        verify: Prove that the narrow network computes what the widened one does with the removed
            units masked.

    Returns:
        A network of the model's class and in its mode, with fresh weights, and the plan that
        widens and narrows ``model`` to it.

    Raises:
        TraceError: If the network cannot be traced.
        BudgetError: If the floors do not allow so cheap a network; says which hold it.
        SearchError: If no weight can be generated, a weight is parametrized, the model is on the
            meta device, or loss or gradient are not finite.
        ConfigError: If an option is out of range, the loss of the batch cannot be computed, or
            fresh weights cannot be drawn.
        ProofError: If the proof fails.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(1))
        >>> batch = torch.randn(4, 3, 8, 8), torch.zeros(4, dtype=torch.long)
        >>> small, plan = lw_dna(
        ...     net, batch[0], loss=nn.functional.cross_entropy, batch=batch, budget=ww.Macs(0.9),
        ...     tau=0.4,
        ... )
        >>> plan.macs() / plan.full_macs, small[0].out_channels
        (0.875, 7)
    """
    settings = LwDnaSettings(widen=widen, rho=rho, tau=tau, embedding_dim=embedding_dim)
    limits = Limits(min_width=min_width, round_to=round_to, include=include, exclude=exclude)
    return settings.narrow(
        model,
        example_inputs,
        loss=loss,
        batch=batch,
        budget=budget,
        limits=limits,
        factory=factory,
        seed=seed,
        verify=verify,
    )


def feeding_output(graph: ChannelGraph) -> set[str]:
    """Find the axes that are read by the layers which make the network's output.

    Args:
        graph: The network.

    Returns:
        Names of axes, such as the one of the features that a classifier gets.
    """
    output = np.zeros(graph.unit_count, bool)
    for axis in graph.axes.values():
        output[axis.units] = axis.frozen == OUTPUT
    read = np.zeros(graph.unit_count, bool)
    for tensor, summed in graph.consumers.items():
        dims = graph.slots[tensor]
        makes = (units for dim, units in enumerate(dims) if dim not in summed)
        if any(units is not None and output[units].any() for units in makes):
            for dim in summed:
                units = dims[dim]
                if units is not None:
                    read[units] = True
    return {name for name, axis in graph.axes.items() if read[axis.units].any()}
