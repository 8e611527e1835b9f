"""The handle of growing regularisation: a penalty that grows, on the units that are to go.

Wang, Qin, Zhang, Fu, "Neural Pruning via Growing Regularization" (ICLR 2021, arXiv:2012.09243).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from widthwise.cost import Budget
from widthwise.errors import ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.search.handles.base import Ground
from widthwise.search.handles.checks import (
    learning_rates,
    require_finite,
    require_non_negative,
)
from widthwise.search.limits import Limits
from widthwise.search.planning import select
from widthwise.search.prox import l2_decay
from widthwise.search.scores.base import Score
from widthwise.search.scores.magnitude import L1

_STAYS = 2.0
"""Importance of units that are to stay; that of the others is at most 1."""


class GrowingPenalty:
    """An l2 penalty on all weights of the units that a score lets go, growing step by step.

    The units are chosen at a step, the first one by default, so that every process of a distributed
    run has the same weights then. Nothing is put into the network: its own weights fade, until
    hardly anything is lost by the cut.

    Args:
        graph: Trace of ``model``.
        model: The network.
        budgets: What the units that stay may cost.
        limits: What no plan may go below.
        growth: What the penalty grows by.
        grow_every: Steps between two growths.
        ceiling: What it grows to.
        prune_threshold: Units whose weights are down to this share of their norm at the start count
            as removed.
        warm_up: Steps before the units are chosen, for a network that is not trained yet.
        score: Which units go; `L1` by default.

    Raises:
        ConfigError: If a number is out of range, or a limit names no axis.
        SearchError: If no weight of a unit that may be removed is trained.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        model: nn.Module,
        *,
        budgets: Sequence[Budget],
        limits: Limits,
        growth: float,
        grow_every: int,
        ceiling: float,
        prune_threshold: float,
        warm_up: int = 0,
        score: Score | None = None,
    ) -> None:
        require_non_negative(
            growth=growth, ceiling=ceiling, prune_threshold=prune_threshold, warm_up=warm_up
        )
        if grow_every < 1:
            raise ConfigError(f"`grow_every` must be at least 1 step, got {grow_every!r}.")
        self.model = model
        self._graph, self._budgets = graph, tuple(budgets)
        self._growth, self._grow_every, self._ceiling = growth, grow_every, ceiling
        self._threshold, self._warm_up = prune_threshold, warm_up
        self._score = L1() if score is None else score
        self._weights = _weights(graph, model)
        self.driven = np.zeros(graph.unit_count, bool)
        for _, slots in self._weights:
            for units in slots:
                if units is not None:
                    self.driven[units.numpy()] = True
        self._limits = limits.only(graph, self.driven)
        if not self._limits.axes(graph):
            raise SearchError(
                f"`{type(model).__name__}` has no axis to narrow whose weights are trained.\n"
                "Why: what a penalty is to push out must be trained.\n"
                "Hint: print(ww.trace(model, example_inputs)) lists the axes and why they are "
                "frozen."
            )
        self._steps = 0
        self._leaving: Tensor | None = None
        self._start: Tensor | None = None
        self._times: list[Tensor | None] = []

    @property
    def penalty(self) -> float:
        """Weight of the penalty at this moment; that of weight decay, in the same units."""
        growths = max(self._steps - self._warm_up, 0) // self._grow_every
        return min(self._growth * growths, self._ceiling)

    @property
    def leaving(self) -> np.ndarray | None:
        """The units that are to go, bool, shape ``[u]``; None before they are chosen."""
        return None if self._leaving is None else self._leaving.cpu().numpy()

    def attach(self) -> None:
        """Put nothing into the network."""

    def detach(self) -> None:
        """Take nothing out."""

    def write(self) -> None:
        """Leave the weights as they are; choose the units now, if they are not yet."""
        self._choose()

    def parameters(self) -> Iterable[nn.Parameter]:
        """Add none."""
        return ()

    @torch.no_grad()
    def step(self, optimizer: Optimizer) -> None:
        """Shrink the weights of the units that are to go, by the penalty times the learning rate.

        Args:
            optimizer: It trains the network.

        Raises:
            SearchError: If the optimizer lacks a weight, or training has diverged.
        """
        rates = learning_rates(optimizer, (weight for weight, _ in self._weights), "weights")
        self._steps += 1
        if self._steps <= self._warm_up:
            return
        self._choose()
        for (weight, _), times in zip(self._weights, self._times_paid(), strict=True):
            if times is not None:
                weight.copy_(l2_decay(weight, rates[weight] * self.penalty * times))

    def importance(self) -> np.ndarray:
        """Score units that are to stay above all others, and those by what is left of them.

        Returns:
            Float64, shape ``[u]``; equal for all before they are chosen.

        Raises:
            SearchError: If training has diverged.
        """
        left = self._left()
        if self.leaving is None:
            return left
        return np.where(self.leaving, np.minimum(left, 1.0), _STAYS)

    def alive(self) -> np.ndarray:
        """Tell which units are to stay, or have more left than the threshold.

        Returns:
            Bool, shape ``[u]``; all of them before they are chosen.

        Raises:
            SearchError: If training has diverged.
        """
        left = self._left()
        if self.leaving is None:
            return np.ones(len(left), bool)
        return ~self.leaving | (left >= self._threshold)

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> None:
        """See `Handle`: the network that was traced is the one to cut."""

    def state_dict(self) -> dict[str, Any]:
        """Return which units are to go, what they started with, and the number of steps."""
        return {"steps": self._steps, "leaving": self._leaving, "start": self._start}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from such a state; see `Remembering`."""
        self._steps = int(state["steps"])
        self._leaving, self._start, self._times = state["leaving"], state["start"], []

    def _choose(self) -> None:
        """Choose the units that are to go, unless that has been done."""
        if self._leaving is None:
            scores = self._score(self._graph)
            kept = select(self._graph, scores, self._budgets, self._limits)
            self._leaving, self._start = torch.from_numpy(~kept), self._norms().cpu()

    def _times_paid(self) -> list[Tensor | None]:
        """How often each entry is paid for: twice between two units that go; None if none is."""
        if not self._times and self._leaving is not None:
            for weight, slots in self._weights:
                times = torch.zeros([1] * weight.dim())
                for dim, units in enumerate(slots):
                    if units is not None:
                        shape = [1] * weight.dim()
                        shape[dim] = -1
                        times = times + self._leaving[units].float().view(shape)
                self._times.append(times.to(weight.device) if times.any() else None)
        return self._times

    def _left(self) -> np.ndarray:
        """What is left of the norm of every unit, as a share of that at the start."""
        norms = self._norms().cpu()
        require_finite(norms, "weights")
        start = norms if self._start is None else self._start
        left = torch.where(start > 0, norms / start, 0.0)
        return left.double().numpy()

    @torch.no_grad()
    def _norms(self) -> Tensor:
        """The norm of all weights of every unit, shape ``[u]``."""
        first = self._weights[0][0]
        squares = torch.zeros(self._graph.unit_count, device=first.device)
        for weight, slots in self._weights:
            values = weight.float().square()
            for dim, units in enumerate(slots):
                if units is not None:
                    others = [other for other in range(weight.dim()) if other != dim]
                    along = values.sum(others) if others else values
                    squares.index_add_(0, units.to(first.device), along.to(first.device))
        return squares.sqrt()


def _weights(
    graph: ChannelGraph, model: nn.Module
) -> list[tuple[nn.Parameter, list[Tensor | None]]]:
    """Return every trained parameter of units that may go, with the units of its dims."""
    found = []
    for name, parameter in model.named_parameters():
        slots = graph.slots.get(name, ()) if parameter.requires_grad else ()
        if any(units is not None and graph.free[units].any() for units in slots):
            dims = [None if units is None else torch.from_numpy(units) for units in slots]
            found.append((parameter, dims))
    return found
