"""The life of a search that is attached to a network while it trains.

This file knows when things happen: a step, a comparison with the budget, the end. What is learned,
and from what, is the business of the handle.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypedDict, TypeVar, cast

import numpy as np
from torch import nn
from torch.optim import Optimizer

from widthwise.arguments import network_in
from widthwise.cost import Budget, budgets_of, costs_of, full_cost, limit
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite
from widthwise.search.ending import hand_over
from widthwise.search.handles import Ground, Handle, Remembering
from widthwise.search.limits import Limits
from widthwise.search.planning import require_reachable, select
from widthwise.search.snapshot import Snapshot
from widthwise.shrinking import shrink

_Kept = TypeVar("_Kept", np.ndarray, np.ndarray | None)


class Check(TypedDict):
    """One comparison of the cost with the budget."""

    step: int
    """Steps done when it was made."""
    cost_fraction: float
    """Cost of the units that are alive, as a fraction of what the user's own network costs; with
    several budgets, of the one furthest from being met."""
    excess: float
    """How far that is above the budget, as such a fraction; negative when below."""


class Search:
    """A search in progress on one network.

    Call `step` after every ``optimizer.step()``, stop when `done` (or whenever you like), and get
    the narrow network from `finish`. As a context manager it abandons itself when an exception
    leaves the ``with`` block.

    A checkpoint needs ``model.state_dict()``, which holds what the handle learns,
    ``search.state_dict()`` and the optimizer's. To resume, build network and search in the same way
    and load all three.

    Args:
        graph: Trace of the network.
        handle: What the widths are held by, not attached yet. This attaches it.
        budgets: The result meets every one of them.
        limits: What no plan may go below. Axes that the handle can say nothing about stay whole.
        stop_limit: The search is `done` when its cost is above the budget by at most this fraction
            of the full cost.
        check_every: Steps between two comparisons with the budget.
        ends_after: Steps after which there is one more, of a search that has a length.
        method: Name of the method, for the plan.
        seed: The seed it uses, for the plan; None where nothing is random.
        before: What was done to the user's own network to get this one, for the plan.
        full: Trace of the user's own network, where that is another: budgets refer to it.

    Raises:
        BudgetError: If no plan within the limits meets the budgets. Nothing is attached then.
        ConfigError: If a number is out of range.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        *,
        handle: Handle,
        budgets: Sequence[Budget],
        limits: Limits,
        stop_limit: float = 0.05,
        check_every: int = 100,
        ends_after: int | None = None,
        method: str,
        seed: int | None = None,
        before: Sequence[Rewrite] = (),
        full: ChannelGraph | None = None,
    ) -> None:
        if not (math.isfinite(stop_limit) and stop_limit >= 0):
            raise ConfigError(
                f"`stop_limit` must be a finite number of at least 0, got {stop_limit!r}."
            )
        if check_every < 1:
            raise ConfigError(f"`check_every` must be at least 1 step, got {check_every!r}.")
        self._graph, self._full = graph, graph if full is None else full
        self._handle = handle
        self._budgets = tuple(budgets)
        self._limits = limits.only(graph, handle.driven)
        self._stop_limit, self._check_every = stop_limit, check_every
        self._ends_after = ends_after
        self._method, self._seed, self._before = method, seed, tuple(before)
        self._require_reachable()
        self._history: list[Check] = []
        self._steps = 0
        self._over: str | None = None
        self._snapshot: Snapshot | None = Snapshot(handle.model)
        handle.attach()

    @property
    def model(self) -> nn.Module:
        """The network that is searched."""
        return self._handle.model

    @property
    def graph(self) -> ChannelGraph:
        """The trace of the network, made before anything was attached."""
        return self._graph

    @property
    def handle(self) -> Handle:
        """What the widths are held by."""
        return self._handle

    @property
    def history(self) -> list[Check]:
        """Every comparison with the budget so far, oldest first."""
        return list(self._history)

    @property
    def done(self) -> bool:
        """Whether the last comparison found the cost within ``stop_limit`` of the budget."""
        return bool(self._history) and self._history[-1]["excess"] <= self._stop_limit

    def step(self, optimizer: Optimizer) -> None:
        """Let the handle do its step; every ``check_every`` of them compare with the budget.

        Call it after ``optimizer.step()``.

        Args:
            optimizer: The optimizer that trains the network and what the handle added to it.

        Raises:
            SearchError: If the search is over, if the optimizer lacks parameters that the search
                added, or if training has diverged.
        """
        self._require_running()
        self._handle.step(optimizer)
        self._steps += 1
        if self._steps % self._check_every == 0 or self._steps == self._ends_after:
            self.check()

    def check(self) -> None:
        """Compare the cost with the budget now, for `done` and `history`.

        Raises:
            SearchError: If the search is over.
        """
        self._require_running()
        if self._history and self._history[-1]["step"] == self._steps:
            return
        ground, alive = self._settled(_alive)
        costs = []
        for budget in self._budgets:
            full = full_cost(budget, self._full)
            fraction = budget.cost(ground.graph, alive) / full
            most = limit(budget, ground.graph, full=self._full)
            costs.append((fraction - most / full, fraction))
        excess, fraction = max(costs)
        self._history.append(Check(step=self._steps, cost_fraction=fraction, excess=excess))

    def cost_alive(self) -> dict[str, int]:
        """Count the network of the units that are alive at this moment, floors respected.

        Returns:
            ``macs`` of one input and ``params``.
        """
        ground, alive = self._settled(_alive)
        return {"macs": ground.graph.macs(alive), "params": ground.graph.params(alive)}

    def plan(self, budget: Budget | Sequence[Budget] | None = None) -> Plan:
        """Decide widths by what has been learned so far, under any budget; the search goes on.

        One search gives several networks in this way. ``ww.shrink`` cuts a copy of the network by
        such a plan while it is searched, and the network itself after `finish`, which leaves it at
        full width.

        Args:
            budget: What the plan may cost at most, or several; those of the search by default.

        Returns:
            The plan. Nothing is changed.

        Raises:
            BudgetError: If no plan within the limits meets the budget.
            SearchError: If the search is over, or if training has diverged.
            ConfigError: If the network was sharded over processes since.
        """
        self._require_running()
        network_in(self.model, "search.plan()")
        budgets = self._budgets if budget is None else tuple(budgets_of(budget))
        self._handle.write()
        # What a plan takes is measured on the plain network.
        self._handle.detach()
        try:
            return self._decided(budgets)
        finally:
            self._handle.attach()

    def finish(
        self, optimizer: Optimizer | None = None, *, verify: bool = True
    ) -> tuple[nn.Module, Plan]:
        """Cut the network to the budget and end the search.

        The most important units are kept, as many as the budget allows: the search need not be
        `done`. The searched network itself is left at full width, with the weights that it computed
        with as plain parameters.

        Args:
            optimizer: The optimizer that trained the search, to be taken along: changed in place,
                it then holds the parameters of the narrow network, with the momentum of what was
                trained directly. Weights computed from other parameters had none of their own and
                start without, in the group of those parameters if the optimizer lacks them.
            verify: Prove that the narrow network computes what the wide one does with the removed
                units masked.

        Returns:
            The narrow network, and the plan it was cut by.

        Raises:
            SearchError: If the search is over, or if training has diverged.
            ConfigError: If the network was sharded over processes since.
            PlanError: If the optimizer is not one of this network.
            ProofError: If the proof fails; the search goes on as if nothing had been asked.
        """
        self._require_running()
        network_in(self.model, "search.finish()")
        self._handle.write()
        idle = [each for each in self.model.parameters() if not each.requires_grad]
        by = list(self._handle.parameters())
        # What a plan takes is measured on the plain network.
        self._handle.detach()
        try:
            plan = self._decided(self._budgets)
            small = shrink(self.model, plan, verify=verify)
            if optimizer is not None:
                computed = [each for each in idle if each.requires_grad]
                hand_over(optimizer, self.model, small, plan, computed=computed, by=by)
        except BaseException:
            self._handle.attach()
            raise
        self._over, self._snapshot = "finished", None
        return small, plan

    def abandon(self) -> None:
        """Detach, and leave the network bit for bit as it was before the search.

        Parameters and buffers get their values back, and their gradients, ``requires_grad`` flags
        and training modes; what the handle added is gone. Abandoning twice does nothing.

        Raises:
            SearchError: If the search was finished.
            ConfigError: If the network was sharded over processes since.
        """
        if self._over == "abandoned":
            return
        self._require_running()
        network_in(self.model, "search.abandon()")
        self._handle.detach()
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
        """Return what ``model.state_dict()`` does not hold, in plain values and tensors."""
        state = {
            "method": self._method,
            "network": self._fingerprint(),
            "steps": self._steps,
            "history": [dict(check) for check in self._history],
        }
        if isinstance(self._handle, Remembering):
            state["handle"] = self._handle.state_dict()
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where another search of the same network by the same method stood.

        Load the model's own state dict too: it holds what has been learned.

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
        if isinstance(self._handle, Remembering):
            self._handle.load_state_dict(state["handle"])

    def _settled(self, choose: Callable[[Ground], _Kept]) -> tuple[Ground, _Kept]:
        """Return the network that the handle would cut at this moment, and what it would keep."""
        handle = self._handle
        ground: Ground | None = Ground(
            graph=self._graph,
            before=self._before,
            limits=self._limits,
            importance=handle.importance(),
            alive=handle.alive(),
        )
        while ground is not None:
            last, kept = ground, choose(ground)
            ground = handle.better_ground(last, kept)
        return last, kept

    def _require_reachable(self) -> None:
        """Raise an error if no plan meets the budgets, of any network that the handle would cut."""
        try:
            require_reachable(self._graph, self._budgets, self._limits, full=self._full)
        except BudgetError:
            self._chosen(self._budgets)

    def _decided(self, budgets: Sequence[Budget]) -> Plan:
        """Return the plan of this moment within budgets."""
        ground, kept = self._chosen(budgets)
        return Plan.of(
            ground.graph,
            kept,
            budgets=budgets,
            method=self._method,
            seed=self._seed,
            before=ground.before,
            full_cost=costs_of(self._full),
        )

    def _chosen(self, budgets: Sequence[Budget]) -> tuple[Ground, np.ndarray]:
        """Return the network to cut, and the units to keep of it within budgets."""

        def selected(ground: Ground) -> np.ndarray:
            return select(ground.graph, ground.importance, budgets, ground.limits, full=self._full)

        def within(ground: Ground) -> np.ndarray | None:
            try:
                return selected(ground)
            except BudgetError:
                return None

        ground, kept = self._settled(within)
        return ground, selected(ground) if kept is None else kept

    def _require_running(self) -> None:
        if self._over is not None:
            raise SearchError(
                f"This search is over: it was {self._over} after {self._steps} steps.\n"
                "Hint: start a new one on the network."
            )

    def _fingerprint(self) -> str:
        axes = [(name, axis.width, axis.frozen is None) for name, axis in self._graph.axes.items()]
        return hashlib.sha256(repr(axes).encode()).hexdigest()[:16]


def _alive(ground: Ground) -> np.ndarray:
    return ground.alive
