"""Scores and a budget make a plan: remove the lowest scores until the cost is within the budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from widthwise import errors
from widthwise.arguments import require
from widthwise.cost import Budget, budgets_of, full_cost, limit
from widthwise.graph import Axis, ChannelGraph
from widthwise.plans import Plan
from widthwise.search.limits import Limits, RoundTo
from widthwise.search.measuring import met_as_measured
from widthwise.search.scores.base import Score, require_score


def plan(
    graph: ChannelGraph,
    *,
    score: Score,
    budget: Budget | Sequence[Budget],
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: RoundTo = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
) -> Plan:
    """Decide the width of every axis from scores, without training.

    Units are removed lowest score first until every budget is met; then, highest score first, those
    are put back that still fit. The result is below the budget by less than the cheapest unit left
    out, and a tighter budget never costs more.

    Args:
        graph: From `trace`. Scores that read weights read those of its model.
        score: A number per unit, low goes first, such as ``ww.scores.L1()``.
        budget: What the plan may cost at most, such as ``ww.Macs(0.5)``, or several. What
            `ww.Latency` asks for is predicted, measured, and decided again if it takes longer.
        min_width: Channels that every axis keeps at least.
        min_keep: Keep ratio that every axis has at least, in [0, 1]; or one per name or glob of
            axes, such as ``{"fc*": 0.4}``.
        round_to: Channels of every narrowed axis are a multiple of this; by default 16 on axes of
            at least 64 channels, 8 from 32 on, and 1 below. One per name or glob of axes leaves the
            default to others. ``"measured"`` takes, per axis, what is quick on the machine of the
            latency budget, see `Latency.multiples`.
        include: Names or globs of axes that may be narrowed, or one; all that are free by default.
        exclude: Names or globs of axes that may not, or one.

    Returns:
        The plan. No tensor has been touched.

    Raises:
        BudgetError: If no plan within the limits is as cheap as the budget asks; it says how cheap
            a plan can be and what holds it there.
        ConfigError: If a limit is out of range or a name matches no axis.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3))
        >>> graph = ww.trace(net, torch.zeros(1, 3, 8, 8))
        >>> ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5)).widths
        {'0': 4, '1': 4}
    """
    limits = Limits(
        min_width=min_width,
        min_keep=min_keep,
        round_to=round_to,
        include=include,
        exclude=exclude,
    )
    require(graph, ChannelGraph, "a graph", "graph = ww.trace(model, example_inputs)")
    require_score(score)
    budgets = budgets_of(budget)
    kept = select(graph, score(graph), budgets, limits.on(graph, budgets))
    return Plan.of(graph, kept, budgets=budgets, method=repr(score))


def select(
    graph: ChannelGraph,
    scores: np.ndarray,
    budgets: Sequence[Budget],
    limits: Limits,
    *,
    full: ChannelGraph | None = None,
) -> np.ndarray:
    """Return the mask of kept units that scores and budgets ask for.

    Args:
        graph: The network.
        scores: One number per unit, shape ``[units]``; low goes first. Not changed.
        budgets: All of them are met.
        limits: Floors, alignment and choice of axes.
        full: The user's own network, where ``graph`` is that of a rewritten one: fractions refer to
            it.

    Returns:
        Which units stay. Shape ``[units]``, bool.

    Raises:
        BudgetError: If that cannot be done.
        ConfigError: If a score is not a number, or there is not one per unit.
    """
    scores = np.asarray(scores, np.float64)
    if scores.shape != (graph.unit_count,):
        raise errors.ConfigError(
            f"A score must return one number per unit: expected shape ({graph.unit_count},), "
            f"got {scores.shape}."
        )
    _require_numbers(scores, limits.axes(graph))
    return met_as_measured(
        graph,
        budgets,
        lambda each: lowest_first(graph, scores, each, limits, full),
        full=full,
    )


def lowest_first(
    graph: ChannelGraph,
    scores: np.ndarray,
    budgets: Sequence[Budget],
    limits: Limits,
    full: ChannelGraph | None = None,
) -> np.ndarray:
    """Remove what scores lowest until costs are met, then put back what fits.

    What `select` does, with times as they are predicted.

    Args:
        graph: The network.
        scores: One finite number per unit, shape ``[units]``; low goes first.
        budgets: All of them are met.
        limits: Floors, alignment and choice of axes.
        full: The user's own network; see `select`.

    Returns:
        Which units stay. Shape ``[units]``, bool.

    Raises:
        BudgetError: If that cannot be done.
    """
    bounds = [limit(budget, graph, full=full) for budget in budgets]

    def fits(mask: np.ndarray) -> bool:
        return all(b.cost(graph, mask) <= most for b, most in zip(budgets, bounds, strict=True))

    steps = _Steps.of(limits.axes(graph), scores, limits)
    low, high = 0, len(steps)
    _require_fit(graph, budgets, steps.mask(graph, high), limits, full=full)
    # Removing more never costs more, so the first count that fits is found by bisection.
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(steps.mask(graph, middle)) else (middle + 1, high)
    return _put_back(graph, budgets, bounds, steps, low)


def require_reachable(
    graph: ChannelGraph,
    budgets: Sequence[Budget],
    limits: Limits,
    *,
    full: ChannelGraph | None = None,
) -> None:
    """Find out whether any plan meets the budgets.

    Args:
        graph: The network.
        budgets: All of them are to be met.
        limits: Floors, alignment and choice of axes.
        full: The user's own network; see `select`.

    Raises:
        BudgetError: If none does; it says how cheap a plan can be and what holds it there.
        ConfigError: If a name matches no axis.
    """
    _require_fit(graph, budgets, smallest(graph, limits), limits, full=full)


def smallest(graph: ChannelGraph, limits: Limits) -> np.ndarray:
    """Return the mask of as few units as limits allow, bool, shape ``[units]``.

    Args:
        graph: The network.
        limits: Floors, alignment and choice of axes.

    Returns:
        The first units of every axis; all of those that may not be narrowed.
    """
    mask = graph.everything.copy()
    for axis in limits.axes(graph):
        mask[axis.units.start + limits.widths(axis)[-1] : axis.units.stop] = False
    return mask


class _Steps:
    """The order in which units are removed, in steps that keep every axis aligned."""

    def __init__(self, units: list[np.ndarray], axes: np.ndarray) -> None:
        self.units = units
        self.axes = axes
        self._flat = np.concatenate(units) if units else np.empty(0, np.int64)
        self._ends = np.cumsum([0, *(len(step) for step in units)])

    @classmethod
    def of(cls, axes: Sequence[Axis], scores: np.ndarray, limits: Limits) -> _Steps:
        units: list[np.ndarray] = []
        keys: list[np.ndarray] = [np.empty(0)]
        owners: list[np.ndarray] = [np.empty(0, np.int64)]
        for number, axis in enumerate(axes):
            order = np.argsort(scores[axis.units], kind="stable")
            starts = axis.width - np.array(limits.widths(axis))
            if len(starts) < 2:
                continue
            gone = order[: starts[-1]]
            units += np.split(gone + axis.units.start, starts[1:-1])
            sums = np.add.reduceat(scores[axis.units][gone], starts[:-1])
            # Rounding in a mean must not reverse two steps of one axis.
            keys.append(np.maximum.accumulate(sums / np.diff(starts)))
            owners.append(np.full(len(starts) - 1, number))
        order = np.argsort(np.concatenate(keys), kind="stable")
        return cls([units[i] for i in order], np.concatenate(owners)[order])

    def __len__(self) -> int:
        return len(self.units)

    def mask(self, graph: ChannelGraph, count: int) -> np.ndarray:
        """Return the mask after the first ``count`` steps."""
        kept = graph.everything.copy()
        kept[self._flat[: self._ends[count]]] = False
        return kept


def _put_back(
    graph: ChannelGraph,
    budgets: Sequence[Budget],
    bounds: Sequence[float],
    steps: _Steps,
    removed: int,
) -> np.ndarray:
    """Put removed steps back, best first, where they still fit."""
    # A tighter budget cannot end up costing more: up to the first step that only the looser budget
    # admits, both keep the same units, and from there on the looser one costs more than the tighter
    # one allows.
    kept = steps.mask(graph, removed)
    blocked: set[int] = set()
    for index in range(removed - 1, -1, -1):
        axis = int(steps.axes[index])
        if axis in blocked:
            continue
        trial = kept.copy()
        trial[steps.units[index]] = True
        if all(b.cost(graph, trial) <= most for b, most in zip(budgets, bounds, strict=True)):
            kept = trial
        else:
            # Steps of an axis return in order, or its width would lose its alignment.
            blocked.add(axis)
    return kept


def _require_numbers(scores: np.ndarray, axes: Sequence[Axis]) -> None:
    bad = [axis.name for axis in axes if not np.isfinite(scores[axis.units]).all()]
    if bad:
        raise errors.ConfigError(
            f"The scores of {len(bad)} axes are not finite, first `{bad[0]}`.\n"
            "Why: units are removed in the order of their scores.\n"
            "Hint: weights that are NaN or infinite give such scores; check the checkpoint."
        )


def _require_fit(
    graph: ChannelGraph,
    budgets: Sequence[Budget],
    smallest: np.ndarray,
    limits: Limits,
    *,
    full: ChannelGraph | None,
) -> None:
    full = graph if full is None else full
    for budget in budgets:
        cost, most = budget.cost(graph, smallest), limit(budget, graph, full=full)
        if cost > most:
            own = full_cost(budget, full)
            raise errors.unreachable_budget(
                budget.name, most, own, cost, _holders(graph, budget, smallest, limits, own)
            )


def _holders(
    graph: ChannelGraph, budget: Budget, smallest: np.ndarray, limits: Limits, full: float
) -> list[tuple[str, float]]:
    """Return what keeps the smallest plan from being smaller, largest share of ``full`` first."""
    cost = budget.cost(graph, smallest)
    movable = {axis.name for axis in limits.axes(graph)}
    found = []
    for axis in graph.axes.values():
        without = smallest.copy()
        without[axis.units] = False
        share = (cost - budget.cost(graph, without)) / full
        if axis.name in movable:
            why = f"keeps {int(smallest[axis.units].sum())} of {axis.width} units at least"
        else:
            why = axis.frozen or "not included"
        found.append((f"{axis.name} ({why})", share))
    return sorted(found, key=lambda item: -item[1])[:6]
