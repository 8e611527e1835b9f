"""A search: Weights x Score x Prox x Budget, attached to a network while it trains.

A published method is a choice of the four parts, in `widthwise.search.methods`. This file knows
when things happen: what a step does, when to stop, how to end.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, Self, TypedDict, cast

import numpy as np
import torch
from torch import nn

from widthwise.cost import Budget, full_cost, limit
from widthwise.errors import SearchError
from widthwise.graph import ChannelGraph
from widthwise.plans import Plan
from widthwise.search.limits import Limits
from widthwise.search.planning import select
from widthwise.search.pressure import Pressure
from widthwise.search.prox import Prox
from widthwise.search.scores.base import Score
from widthwise.search.threshold import Floors
from widthwise.search.weights import Snapshot, Weights
from widthwise.shrinking import carry_optimizer, shrink


class Check(TypedDict):
    """One comparison of the cost with the budget."""

    step: int
    """Steps done when it was made."""
    cost_fraction: float
    """Cost at the threshold, as a fraction of the full network's; with several budgets, of the one
    furthest from being met."""
    excess: float
    """How far that is above the budget, as a fraction of the full cost; negative when below."""


class Search:
    """A search in progress on one network.

    Call `step` after every ``optimizer.step()``, stop when `done` (or whenever you like), and get
    the narrow network from `finish`. As a context manager it abandons itself when an exception
    leaves the ``with`` block.

    A checkpoint needs ``model.state_dict()``, which holds the latents, ``search.state_dict()`` and
    the optimizer's. To resume, build network and search in the same way and load all three.

    Args:
        graph: Trace of the network.
        weights: Source of weights, not attached yet. This attaches it.
        score: Ranks the units when the search is finished.
        prox: Applied to the latents after every step.
        budgets: The result meets every one of them.
        pressure: How hard to push, and when to stop.
        limits: What no plan may go below.
        method: Name of the method, for the plan.
        seed: Seed of the latents, for the plan.

    Raises:
        BudgetError: If no plan within the limits meets the budgets. Nothing is attached then.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        *,
        weights: Weights,
        score: Score,
        prox: Prox,
        budgets: Sequence[Budget],
        pressure: Pressure,
        limits: Limits,
        method: str,
        seed: int,
    ) -> None:
        self._graph = graph
        self._weights = weights
        self._score = score
        self._prox = prox
        self._budgets = tuple(budgets)
        self._pressure = pressure
        self._limits = _within_reach(limits, graph, weights.driven)
        self._method = method
        self._seed = seed
        self._floors = Floors.of(graph, self._limits)
        self._require_reachable()
        self._history: list[Check] = []
        self._steps = 0
        self._over: str | None = None
        self._snapshot: Snapshot | None = Snapshot(weights.model)
        weights.attach()

    @property
    def model(self) -> nn.Module:
        """The network that is searched."""
        return self._weights.model

    @property
    def graph(self) -> ChannelGraph:
        """The trace of the network, made before anything was attached."""
        return self._graph

    @property
    def latents(self) -> nn.Parameter:
        """The latent vector of the whole network, shape ``[u]``; its order is the graph's."""
        return self._weights.latents

    @property
    def history(self) -> list[Check]:
        """Every comparison with the budget so far, oldest first."""
        return list(self._history)

    @property
    def done(self) -> bool:
        """Whether the last comparison found the cost within ``stop_limit`` of the budget."""
        return bool(self._history) and self._history[-1]["excess"] <= self._pressure.stop_limit

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Shrink the latents once; every ``check_every`` steps compare the cost with the budget.

        Call it after ``optimizer.step()``. The latents move by ``sparsity`` times the learning rate
        of their parameter group, except those of axes that are down to their floor.

        Args:
            optimizer: The optimizer that trains the network and its latents.

        Raises:
            SearchError: If the search is over, if the optimizer does not hold the latents, or if
                training has diverged.
        """
        self._require_running()
        lr = self._lr(optimizer)
        with torch.no_grad():
            latents = self.latents
            axis_of_unit = self._floors.axis_of_unit(latents.device)
            moved = self._prox(latents, self._pressure.sparsity * lr, axis_of_unit)
            active = self._floors.shrinking(latents, self._pressure.prune_threshold)
            latents.copy_(torch.where(active, moved, latents))
        self._steps += 1
        due = self._steps % self._pressure.check_every == 0
        # Reading a value makes an accelerator wait for it; the CPU has nothing to wait for.
        if due or self.latents.device.type == "cpu":
            self._require_finite()
        if due:
            self._check()

    def cost_at_threshold(self) -> dict[str, int]:
        """Count the network that a cut at ``prune_threshold`` would leave, floors respected.

        Returns:
            ``macs`` of one input and ``params``.
        """
        kept = self._kept()
        return {"macs": self._graph.macs(kept), "params": self._graph.params(kept)}

    def finish(
        self, optimizer: torch.optim.Optimizer | None = None, *, verify: bool = True
    ) -> tuple[nn.Module, Plan]:
        """Cut the network to the budget and end the search.

        The units with the largest scores are kept, as many as the budget allows: the search need
        not be `done`. The searched network itself is left with the generated weights as plain
        parameters, at full width.

        Args:
            optimizer: The optimizer that trained the search, to be taken along: changed in place,
                it then holds the parameters of the narrow network, with the momentum of what was
                trained directly. Generated weights had no momentum of their own and start without.
            verify: Prove that the narrow network computes what the wide one does with the removed
                units masked.

        Returns:
            The narrow network, and the plan it was cut by.

        Raises:
            SearchError: If the search is over, or if training has diverged.
            PlanError: If the optimizer is not one of this network.
            ProofError: If the proof fails; the search goes on as if nothing had been asked.
        """
        self._require_running()
        self._require_finite()
        kept = select(self._graph, self._score(self._graph), self._budgets, self._limits)
        plan = Plan.of(
            self._graph, kept, budgets=self._budgets, method=self._method, seed=self._seed
        )
        self._weights.write()
        self._weights.detach()
        try:
            small = shrink(self.model, plan, verify=verify)
            if optimizer is not None:
                carry_optimizer(optimizer, self.model, small, plan)
        except BaseException:
            self._weights.attach()
            raise
        self._over, self._snapshot = "finished", None
        return small, plan

    def abandon(self) -> None:
        """Detach, and leave the network bit for bit as it was before the search.

        Parameters and buffers get their values back, and their gradients, ``requires_grad`` flags
        and training modes; the hypernetwork and the hooks are gone. Abandoning twice does nothing.

        Raises:
            SearchError: If the search was finished.
        """
        if self._over == "abandoned":
            return
        self._require_running()
        self._weights.detach()
        assert self._snapshot is not None
        self._snapshot.restore()
        self._over, self._snapshot = "abandoned", None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None and self._over is None:
            self.abandon()

    def state_dict(self) -> dict[str, Any]:
        """Return what ``model.state_dict()`` does not hold: plain numbers and strings."""
        return {
            "method": self._method,
            "network": self._fingerprint(),
            "steps": self._steps,
            "history": [dict(check) for check in self._history],
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another search of the same network by the same method stood.

        Load the model's own state dict too: it holds the latents.

        Args:
            state: From `state_dict`.

        Raises:
            SearchError: If the state belongs to another method or network, or is not a state.
        """
        self._require_running()
        here = {"method": self._method, "network": self._fingerprint()}
        missing = [key for key in self.state_dict() if key not in state]
        other = [key for key in here if key not in missing and state[key] != here[key]]
        if missing or other:
            raise SearchError(
                "This state belongs to another search"
                + "".join(f"\n    {key}: here {here[key]!r}, saved {state[key]!r}" for key in other)
                + (f"\n    it has no {', '.join(missing)}" if missing else "")
                + "\nWhy: steps and history only mean something for the same method on the same "
                "axes.\n"
                "Hint: build the network and the search exactly as when the state was saved."
            )
        self._steps = int(state["steps"])
        self._history = [cast(Check, dict(check)) for check in state["history"]]

    def _check(self) -> None:
        kept = self._kept()
        costs = []
        for budget in self._budgets:
            full = full_cost(budget, self._graph)
            fraction = budget.cost(self._graph, kept) / full
            costs.append((fraction - limit(budget, self._graph) / full, fraction))
        excess, fraction = max(costs)
        self._history.append(Check(step=self._steps, cost_fraction=fraction, excess=excess))

    def _kept(self) -> np.ndarray:
        return self._floors.kept(self.latents, self._pressure.prune_threshold)

    def _lr(self, optimizer: torch.optim.Optimizer) -> float:
        lr = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        strangers = sum(id(parameter) not in lr for parameter in self._weights.parameters())
        if not strangers:
            return float(lr[id(self.latents)])
        raise SearchError(
            f"The {type(optimizer).__name__} optimizer does not hold the latents of this search: "
            f"it lacks {strangers} of the parameters that the search added.\n"
            "Why: an optimizer made before the search was attached, or from a part of the network, "
            "does not know them, so they would never be trained.\n"
            "Hint: create the optimizer after the search, from `model.parameters()`."
        )

    def _require_reachable(self) -> None:
        smallest = self._floors.kept(self.latents, np.inf)
        if any(b.cost(self._graph, smallest) > limit(b, self._graph) for b in self._budgets):
            # Raises, and says what holds the cost up.
            select(self._graph, np.zeros(self._graph.unit_count), self._budgets, self._limits)

    def _require_running(self) -> None:
        if self._over is not None:
            raise SearchError(
                f"This search is over: it was {self._over} after {self._steps} steps.\n"
                "Hint: start a new one on the network."
            )

    def _require_finite(self) -> None:
        if not bool(torch.isfinite(self.latents).all()):
            raise SearchError(
                f"The latents are no longer finite after {self._steps} steps.\n"
                "Why: training has diverged; no width can be read from NaN or infinite latents.\n"
                "Hint: lower the learning rate, clip gradients, or warm up; then resume from a "
                "checkpoint made before. `search.abandon()` gives the network back as it was."
            )

    def _fingerprint(self) -> str:
        axes = [(name, axis.width, axis.frozen is None) for name, axis in self._graph.axes.items()]
        return hashlib.sha256(repr(axes).encode()).hexdigest()[:16]


def _within_reach(limits: Limits, graph: ChannelGraph, driven: np.ndarray) -> Limits:
    """Leave out the axes that no generated weight touches: their latents learn nothing."""
    idle = [axis.name for axis in limits.axes(graph) if not driven[axis.units].all()]
    return replace(limits, exclude=[*(limits.exclude or ()), *idle])
