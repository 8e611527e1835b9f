"""The handle of fading: gates that a schedule closes, on the units that a loss needs least.

The criterion is that of Liu et al., "Group Fisher Pruning for Practical Network Compression" (ICML
2021, arXiv:2108.00708): squared gradients by a gate on all readers of a unit, gathered while the
network trains, over what the unit costs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from widthwise.cost import Budget
from widthwise.errors import ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.network.generated import GateVector
from widthwise.search.handles.base import Ground
from widthwise.search.handles.checks import learning_rates, require_non_negative
from widthwise.search.handles.gated_weights import (
    GatedWeights,
    numbers_of,
    owners_of,
    read_only_by,
    readers_of,
)
from widthwise.search.limits import Limits
from widthwise.search.marginal import marginal_costs
from widthwise.search.planning import lowest_first

_REVIEWS = 16
"""Times at which the units that stay are chosen anew."""
_LAST_REVIEW = 0.75
"""Share of the way from the first choice to the end after which none is made: what goes has to fade
in the steps that are left."""
_STAYS = 2.0
"""Importance of units that are to stay, and more; that of the others is at most 1."""


class Fading:
    """A gate per unit. Those of the units that are needed least, for what they cost, close slowly.

    The gate of a unit multiplies whatever reads its channels, so one at zero means what a cut
    means. All are one at first: the network goes on from the weights it has. The network trains
    while gates close, and moves what they let through to others; a unit that turns out to be needed
    comes back, since its gate still has a gradient.

    Args:
        graph: Trace of ``model``.
        model: The network. Changed by `attach` only.
        budgets: What the units that stay may cost.
        limits: What no plan may go below.
        steps: In which all gates that close are closed.
        warm_up: Share of them before the first choice.
        memory: Share of the mean of squared gradients that a step leaves.

    Raises:
        ConfigError: If a number is out of range, or a limit names no axis.
        SearchError: If nothing can have a gate.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        steps: int,
        warm_up: float = 0.3,
        memory: float = 0.99,
    ) -> None:
        require_non_negative(warm_up=warm_up, memory=memory)
        if steps < 1:
            raise ConfigError(f"`steps` must be at least 1, got {steps!r}.")
        for name, share in {"warm_up": warm_up, "memory": memory}.items():
            if share >= 1:
                raise ConfigError(f"`{name}` must be below 1, got {share!r}.")
        self.model = model
        self._graph, self._budgets = graph, tuple(budgets)
        owners = owners_of(model)
        readers = readers_of(graph, owners)
        self.driven = read_only_by(graph, readers)
        self._limits = limits.only(graph, self.driven)
        searched = np.zeros(graph.unit_count, bool)
        for axis in self._limits.axes(graph):
            searched[axis.units] = True
        numbers = numbers_of(graph, readers, searched)
        if not numbers:
            raise SearchError(
                f"`{type(model).__name__}` has nothing that could have a gate.\n"
                "Why: units have one where trained weights read them.\n"
                "Hint: print(ww.trace(model, example_inputs)) lists the axes and why they are "
                "frozen."
            )
        device = model.get_parameter(next(iter(numbers))).device
        self._weights = GatedWeights(GateVector(graph.unit_count, device), numbers, owners)
        first = max(1, round(warm_up * steps))
        last = first + round(_LAST_REVIEW * (steps - first))
        self._steps, self._memory = steps, memory
        self._reviews = set(np.linspace(first, last, _REVIEWS).round().astype(int).tolist())
        self._done = 0
        self._kept: np.ndarray | None = None
        self._costs = self._costs_at(graph.everything)

    @property
    def gates(self) -> nn.Parameter:
        """One per unit in the order of the graph, shape ``[u]``."""
        return self._weights.source.gates

    @property
    def staying(self) -> np.ndarray | None:
        """The units that are to stay, bool, shape ``[u]``; None before they are chosen."""
        return self._kept

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
        """The gates, in one vector."""
        return self._weights.source.parameters()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Note how much each gate matters, and move all of them by their schedule.

        What the optimizer did to the gates is undone. A gradient that is not finite, which mixed
        precision skips, is not noted.

        Args:
            optimizer: It trains the network.

        Raises:
            SearchError: If the optimizer lacks the gates, or they have no gradient.
        """
        source = self._weights.source
        learning_rates(optimizer, self.parameters(), "gates")
        gradient = source.gates.grad
        if gradient is None:
            raise SearchError(
                "The gates of this search have no gradient.\n"
                "Why: it tells which units the loss needs.\n"
                "Hint: call `search.step(optimizer)` after `optimizer.step()` and before "
                "`optimizer.zero_grad()`."
            )
        noted = source.moment.lerp(gradient.square(), 1 - self._memory)
        source.moment.copy_(torch.where(torch.isfinite(noted).all(), noted, source.moment))
        self._done += 1
        if self._done in self._reviews:
            self._choose()
        if self._kept is not None:
            goal = torch.from_numpy(self._kept).to(source.held)
            source.held.lerp_(goal, 1 / max(self._steps - self._done + 1, 1))
        source.gates.copy_(source.held)

    def importance(self) -> np.ndarray:
        """Score units that are to stay above all others, and these by what is left of them.

        Returns:
            Float64, shape ``[u]``; before they are chosen, what they would be chosen by.

        Raises:
            SearchError: If training has diverged.
        """
        gates = self._weights.sizes().clamp(max=1).cpu().double().numpy()
        worth = self.worth()
        worth /= max(worth.max(), 1e-300)
        if self._kept is None:
            return worth
        return np.where(self._kept, _STAYS + worth, gates)

    def alive(self) -> np.ndarray:
        """Tell which units are to stay, or have an open gate.

        Returns:
            Bool, shape ``[u]``; all of them before they are chosen.

        Raises:
            SearchError: If training has diverged.
        """
        open_gates = (self._weights.sizes() > 0).cpu().numpy()
        return (self._graph.everything if self._kept is None else self._kept) | open_gates

    def worth(self) -> np.ndarray:
        """Estimate what the loss would rise by without each unit, over what the cost would fall by.

        Returns:
            Float64, shape ``[u]``; 0 where nothing may be removed, and before the first step.
        """
        damage = self._weights.source.moment.cpu().double().numpy().copy()
        for axis in self._limits.axes(self._graph):
            # The fewer units are left, the less the others make up for one: as if the loss fell
            # with one over the width.
            alone = damage[axis.units]
            left = np.empty(axis.width)
            left[np.argsort(-alone, kind="stable")] = np.arange(1, axis.width + 1)
            damage[axis.units] = alone * np.square(axis.width / left)
        costs = self._costs
        return np.divide(damage, costs, out=np.zeros_like(damage), where=costs > 0)

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> None:
        """See `Handle`: the network that was traced is the one to cut."""

    def state_dict(self) -> dict[str, Any]:
        """See `Remembering`: the number of steps, which units are to stay, and what they cost."""
        kept = None if self._kept is None else torch.from_numpy(self._kept)
        return {"done": self._done, "kept": kept, "costs": torch.from_numpy(self._costs)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from such a state."""
        self._done = int(state["done"])
        self._kept = None if state["kept"] is None else state["kept"].numpy()
        self._costs = state["costs"].numpy()

    def _choose(self) -> None:
        # What a unit costs depends on the plan that it helps to choose: costs of a plan and of the
        # one before are averaged, or two plans could take turns.
        for _ in range(2):
            self._kept = lowest_first(self._graph, self.worth(), self._budgets, self._limits)
            self._costs = (self._costs + self._costs_at(self._kept)) / 2

    def _costs_at(self, kept: np.ndarray) -> np.ndarray:
        return marginal_costs(self._graph, kept, self._budgets, self._limits)
