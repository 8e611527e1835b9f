"""Trace, decide, cut and heal a trained network in one step."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from widthwise import errors
from widthwise.compression.curves import measured, widths_measured
from widthwise.compression.knapsack import least_damage
from widthwise.compression.record import Compression, Curve, Trial
from widthwise.compression.stopping import Promise
from widthwise.compression.trials import Measure, Trials
from widthwise.cost import Budget, Macs
from widthwise.graph import ChannelGraph, trace
from widthwise.healing import heal
from widthwise.healing.pairs import joined
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.search.limits import Limits
from widthwise.search.planning import require_reachable, select
from widthwise.search.scores import L1, Reconstruction, Uniform
from widthwise.search.scores.reconstruction import Removal
from widthwise.shrinking import shrink

Progress = Callable[[int, int, str], object]
"""Called with the number of the step, how many there are, and what it is."""

_TRIAL_INPUTS = 256
"""Inputs that a trial is healed on; the network in the end, on all."""
_COMPARED = 512
"""Inputs that plans are compared on, at most."""


def compress(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    budget: Budget | Sequence[Budget] | None = None,
    stop_at: str | None = None,
    measure: Measure | None = None,
    min_width: int = 1,
    min_keep: float | Mapping[str, float] = 0.0,
    round_to: int | None = None,
    include: Sequence[str] | None = None,
    exclude: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> tuple[nn.Module, Plan]:
    """Make a trained network smaller, from a few hundred inputs, without labels and training.

    For every axis, `Reconstruction` says which units go first; what narrowing it costs is measured
    at a few widths, with the network cut there alone, healed and compared with the full one on
    inputs that are held out. From these curves the widths follow that cost least within the budget.
    They are compared with those of simpler rules, each healed, and the best plan is cut, proven and
    healed on all inputs. `widthwise.compression.compressed` returns what was measured as well.

    Args:
        model: The trained network; not changed.
        batches: Inputs as ``forward`` takes them, like those it was trained on: 500 to 1,000 in
            all. Half of them are kept to compare plans on.
        budget: What the result may cost at most, such as ``ww.Macs(0.6)``, or several.
        stop_at: In place of a budget, a promise that the smallest network keeps on inputs that are
            held out: ``"agreement>=0.95"`` with the answers of the full network, ``"drop<=0.01"``
            of the measure, or ``"measure>=0.9"``.
        measure: Called with a network in evaluation mode; returns how good it is, more is better.
            By default, plans are compared by the distance of their outputs from the full network's.
        min_width: As for `plan`.
        min_keep: As for `plan`.
        round_to: As for `plan`.
        include: As for `plan`.
        exclude: As for `plan`.
        progress: Called before each step.

    Returns:
        The narrow network, in the mode of `model`, and its plan.

    Raises:
        BudgetError: If no plan within the limits is as cheap, or none keeps the promise.
        ConfigError: If there are too few inputs, or they hold values that are not finite.
        TraceError: If the network cannot be traced.
        ProofError: If the cut cannot be proven.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.ReLU(),
        ...                           torch.nn.Linear(16, 3)).eval()
        >>> small, plan = ww.compress(net, [torch.randn(256, 6)], budget=ww.Macs(0.5))
        >>> plan.macs() <= plan.full_macs / 2
        True
    """
    found = compressed(
        model,
        batches,
        budget=budget,
        stop_at=stop_at,
        measure=measure,
        limits=Limits(
            min_width=min_width,
            min_keep=min_keep,
            round_to=round_to,
            include=include,
            exclude=exclude,
        ),
        progress=progress,
    )
    return found.network, found.plan


def compressed(
    model: nn.Module,
    batches: Iterable[Any],
    *,
    budget: Budget | Sequence[Budget] | None = None,
    stop_at: str | None = None,
    measure: Measure | None = None,
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> Compression:
    """Do what `compress` does, and return what was measured on the way.

    Args:
        model: As for `compress`.
        batches: As for `compress`.
        budget: As for `compress`.
        stop_at: As for `compress`.
        measure: As for `compress`.
        limits: Floors, alignment and choice of axes.
        progress: As for `compress`.

    Returns:
        The network, the plan, curves, trials and what healing did.

    Raises:
        BudgetError: As for `compress`.
        ConfigError: As for `compress`.
        TraceError: As for `compress`.
        ProofError: As for `compress`.
    """
    if (budget is None) == (stop_at is None):
        raise errors.ConfigError("Pass either a `budget` or `stop_at`.")
    promise = None if stop_at is None else Promise.read(stop_at, measured=measure is not None)
    budgets = list(budget) if isinstance(budget, Sequence) else [b for b in [budget] if b]
    limits = Limits() if limits is None else limits
    given = _read(model, batches)
    graph = trace(model, given[0].with_batch(1))
    require_reachable(graph, budgets, limits)
    healed_on, compared_on = _halves(given)
    work = _Work(model, graph, limits, healed_on, compared_on, measure, progress)
    removals, curves = work.removals()
    if promise is None:
        trials = work.compared(budgets, removals)
    else:
        trials = work.smallest(promise, removals)
    best = trials[0].plan
    work.says("cut, prove and heal")
    small = shrink(model, best)
    report = heal(small, model, best, given)
    return Compression(
        network=small,
        plan=best,
        curves=curves,
        trials=tuple(trials),
        healed=report,
        inputs=report.inputs,
        compared=sum(batch.batch or 1 for batch in compared_on),
        measure=work.trials.full_measure,
        seconds=work.clock.seconds(),
    )


class _Clock:
    """How long each step took."""

    def __init__(self) -> None:
        self._starts: list[tuple[str, float]] = []

    def begins(self, step: str) -> None:
        self._starts.append((step, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        ends = [start for _, start in self._starts[1:]] + [time.perf_counter()]
        return {step: end - start for (step, start), end in zip(self._starts, ends, strict=True)}


class _Work:
    """The steps of one compression."""

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        limits: Limits,
        healed_on: Sequence[Inputs],
        compared_on: Sequence[Inputs],
        measure: Measure | None,
        progress: Progress | None,
    ) -> None:
        self._graph, self._limits, self._healed_on = graph, limits, healed_on
        self._progress = progress
        self.clock = _Clock()
        self.clock.begins("full network")
        few = _first(healed_on, _TRIAL_INPUTS)
        self.trials = Trials(model, few, compared_on, measure)
        self._axes = [axis for axis in limits.axes(graph) if widths_measured(axis, limits)]
        self._steps = 1 + sum(len(widths_measured(axis, limits)) for axis in self._axes) + 6
        self._step = 0

    def says(self, what: str) -> None:
        if self._progress is not None:
            self._progress(min(self._step, self._steps - 1), self._steps, what)
        self._step += 1

    def removals(self) -> tuple[dict[str, Removal], dict[str, Curve]]:
        """Order the units of every axis, and measure what going costs."""
        self.clock.begins("order of units")
        self.says("order of units")
        order = Reconstruction(self._healed_on).removals(self._graph)
        self.clock.begins("curves")
        curves: dict[str, Curve] = {}
        for axis in self._axes:
            widths, damage = [axis.width], [0.0]
            for width in widths_measured(axis, self._limits):
                self.says(f"{axis.name} at {width} of {axis.width}")
                kept = self._graph.everything.copy()
                gone = order[axis.name].order[: axis.width - width]
                kept[axis.units.start + gone] = False
                widths.append(width)
                damage.append(self._trial("curve", kept, ()).damage)
            curves[axis.name] = Curve(tuple(widths), tuple(damage))
        found = {
            name: measured(removal, curves[name]) if name in curves else removal
            for name, removal in order.items()
        }
        self._estimated = order
        return found, curves

    def compared(self, budgets: Sequence[Budget], removals: Mapping[str, Removal]) -> list[Trial]:
        """Measure whole plans, and return them best first."""
        graph, limits = self._graph, self._limits
        self.clock.begins("plans")
        uniform = select(graph, Uniform()(graph), budgets, limits)
        kept = {
            "measured damage": least_damage(graph, removals, budgets, limits),
            "estimated damage": least_damage(graph, self._estimated, budgets, limits),
            "L1": select(graph, L1()(graph), budgets, limits),
            "uniform": self._at_widths_of(uniform),
        }
        kept["widths of L1"] = self._at_widths_of(kept["L1"])
        trials = []
        for name, mask in kept.items():
            self.says(f"plan by {name}")
            trials.append(self._trial(name, mask, budgets))
        return sorted(trials, key=lambda trial: trial.damage)

    def smallest(self, promise: Promise, removals: Mapping[str, Removal]) -> list[Trial]:
        """Halve what is left to decide until the smallest network that keeps a promise is found."""
        self.clock.begins("plans")
        kept: list[Trial] = []
        low, high = 0.0, 1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            try:
                mask = least_damage(self._graph, removals, [Macs(middle)], self._limits)
            except errors.BudgetError:
                low = middle
                continue
            self.says(f"{middle:.1%} of the MACs")
            trial = self._trial(f"{middle:.1%} of the MACs", mask, [Macs(middle)])
            if promise.is_kept(trial, self.trials.full_measure):
                kept.append(trial)
                high = middle
            else:
                low = middle
        if not kept:
            raise errors.BudgetError(
                f"No network narrower than the full one keeps `{promise.text}`.\n"
                "Hint: promise less, or train the network on after the cut."
            )
        return kept[::-1]

    def _at_widths_of(self, mask: np.ndarray) -> np.ndarray:
        """Keep as many units of every axis as a mask does, but those that matter most."""
        kept = self._graph.everything.copy()
        for axis in self._axes:
            gone = axis.width - int(mask[axis.units].sum())
            kept[axis.units.start + self._estimated[axis.name].order[:gone]] = False
        return kept

    def _trial(self, name: str, kept: np.ndarray, budgets: Sequence[Budget]) -> Trial:
        plan = Plan.of(self._graph, kept, budgets=budgets, method=f"compress, {name}")
        return self.trials.of(name, plan)


_HALVINGS = 7


def _read(model: nn.Module, batches: Iterable[Any]) -> list[Inputs]:
    parameter = next(model.parameters(), None)
    device = torch.device("cpu") if parameter is None else parameter.device
    given = [Inputs.of(batch).map(lambda tensor: tensor.to(device)) for batch in batches]
    if not given:
        raise errors.ConfigError(
            "There are no batches to compress on.\n"
            "Hint: pass a few hundred inputs, such as `[images[:512]]`; an iterator that has been "
            "read is empty."
        )
    return joined(given, 1.0)


def _halves(given: Sequence[Inputs]) -> tuple[list[Inputs], list[Inputs]]:
    """Part the inputs in two: to heal on, and to compare on."""
    pieces = [piece for batch in given for piece in _pieces(batch)]
    if len(pieces) < 2:
        raise errors.ConfigError(
            f"There is one input to compress on: {given[0].describe()}.\n"
            "Why: plans are compared on inputs that they were not healed on.\n"
            "Hint: pass a few hundred."
        )
    half = len(pieces) // 2
    return joined(pieces[:half], 1.0), _first(joined(pieces[half:], 1.0), _COMPARED)


def _pieces(batch: Inputs) -> list[Inputs]:
    size = batch.batch
    if size is None or size < 2:
        return [batch]
    half = size // 2
    return [batch.map(lambda t: t[:half]), batch.map(lambda t: t[half:])]


def _first(batches: Sequence[Inputs], count: int) -> list[Inputs]:
    """Return the first inputs of some batches."""
    chosen: list[Inputs] = []
    for batch in batches:
        left = count - sum(each.batch or 1 for each in chosen)
        if left <= 0:
            break
        size = batch.batch
        if size is None or size <= left:
            chosen.append(batch)
        else:
            chosen.append(batch.map(lambda t, left=left: t[:left]))
    return chosen
