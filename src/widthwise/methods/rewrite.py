"""Rewrite: layers are written in another way, and what is left too wide is narrowed uniformly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

from widthwise.cost import Budget, costs_of
from widthwise.errors import ConfigError, PlanError
from widthwise.graph import trace
from widthwise.methods.base import Bench, Found
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite, from_spec
from widthwise.search.limits import Limits
from widthwise.search.planning import select
from widthwise.search.scores import L1, Uniform
from widthwise.shrinking import shrink


@dataclass(frozen=True)
class RewriteSettings:
    """A comparator: filter bases, filter groups, factorised or clustered convolutions."""

    name: Literal["rewrite"] = "rewrite"
    """Name of the method."""
    rewrites: list[dict[str, Any]] = field(default_factory=list)
    """What is done to the network, in order: the name of each rewrite and its values, as in a plan
    file, such as `{name: filter_basis, layers: ["body.*.conv?"], depth: 64, count: 14}`."""

    title: ClassVar[str] = "Rewrite"
    trains: ClassVar[bool] = False
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True

    def __post_init__(self) -> None:
        if not self.rewrites:
            raise ConfigError(
                "`method.rewrites` is empty: name at least one, such as "
                '`{name: filter_groups, layers: ["body.*"], size: 4}`.'
            )
        _ = self.before

    @cached_property
    def before(self) -> tuple[Rewrite, ...]:
        """The rewrites."""
        try:
            return tuple(from_spec(spec) for spec in self.rewrites)
        except PlanError as error:
            raise ConfigError(f"`method.rewrites`: {error}") from error

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Rewrite the network, and narrow it uniformly where the budget asks for less.

        Args:
            bench: Its network is rewritten.
            budget: All of them are met; fractions refer to the network before the rewrites.
            limits: Floors, alignment and choice of axes of the rewritten network.
            seed: Noted in the plan; nothing is random.

        Returns:
            The rewritten network, with what the rewrites make of its weights.
        """
        network = bench.network()
        own = trace(network, bench.example)
        inputs = Inputs.of(bench.example)
        rewritten = network
        for rewrite in self.before:
            rewritten = rewrite.apply(rewritten, inputs)
        graph = trace(rewritten, bench.example)
        plan = Plan.of(
            graph,
            select(graph, Uniform(by=L1())(graph), budget, limits.on(graph, budget), full=own),
            budgets=budget,
            method=self.name,
            seed=seed,
            before=self.before,
            full_cost=costs_of(own),
        )
        return Found(network=shrink(network, plan), plan=plan)
