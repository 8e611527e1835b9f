"""Keep: no width changes; the network is trained as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from widthwise.cost import Budget
from widthwise.errors import BudgetError
from widthwise.graph import trace
from widthwise.methods.base import Bench, Found
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite
from widthwise.search.limits import Limits
from widthwise.search.planning import select
from widthwise.search.scores import Uniform


@dataclass(frozen=True)
class KeepSettings:
    """Nothing is narrowed: for heads on a backbone whose widths another run has found."""

    name: Literal["keep"] = "keep"
    """Name of the method."""

    title: ClassVar[str] = "As built"
    trains: ClassVar[bool] = False
    inherits: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    before: ClassVar[tuple[Rewrite, ...]] = ()

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Keep every unit.

        Args:
            bench: Its network is what is trained, with the weights that it is built with.
            budget: Has to allow for it: `macs: 1.0`.
            limits: Have no effect.
            seed: Noted in the plan; nothing is random.

        Returns:
            The network, and the plan that keeps everything.

        Raises:
            BudgetError: If the network costs more than the budget.
        """
        network = bench.network()
        graph = trace(network, bench.example)
        if not select(graph, Uniform()(graph), budget, limits.on(graph, budget)).all():
            raise BudgetError(
                "The network costs more than the budget, and the method `keep` narrows nothing.\n"
                "Hint: set `budget.macs: 1.0`, or choose a method that narrows, such as "
                "`--method.name dhp`."
            )
        plan = Plan.of(graph, graph.everything, budgets=budget, method=self.name, seed=seed)
        return Found(network=network, plan=plan)
