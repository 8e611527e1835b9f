"""The steps of a compression: order units, measure axes one by one, compare whole plans."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from torch import nn

from widthwise import errors
from widthwise.compression.curves import reading, widths_measured, with_curves
from widthwise.compression.effort import Effort
from widthwise.compression.given import first
from widthwise.compression.knapsack import least_damage
from widthwise.compression.record import Curve, Trial
from widthwise.compression.stopping import Promise
from widthwise.compression.trials import Measure, Trials
from widthwise.cost import Budget, Macs
from widthwise.graph import Axis, ChannelGraph
from widthwise.healing.progress import Progress
from widthwise.network.inputs import Inputs
from widthwise.plans import Plan
from widthwise.search.limits import Limits
from widthwise.search.planning import select
from widthwise.search.scores import L1, Reconstruction, Uniform
from widthwise.search.scores.reconstruction import Removal

_HALVINGS = 7


class Clock:
    """How long each step took."""

    def __init__(self) -> None:
        self._starts: list[tuple[str, float]] = []

    def begins(self, step: str) -> None:
        self._starts.append((step, time.perf_counter()))

    def seconds(self) -> dict[str, float]:
        ends = [start for _, start in self._starts[1:]] + [time.perf_counter()]
        return {step: end - start for (step, start), end in zip(self._starts, ends, strict=True)}


class Work:
    """The steps of one compression."""

    def __init__(
        self,
        model: nn.Module,
        graph: ChannelGraph,
        limits: Limits,
        effort: Effort,
        healed_on: Sequence[Inputs],
        compared_on: Sequence[Inputs],
        measure: Measure | None,
        progress: Progress | None,
    ) -> None:
        self._graph, self._limits, self._healed_on = graph, limits, healed_on
        self._progress, self._effort = progress, effort
        self.clock = Clock()
        self.clock.begins("full network")
        few = first(healed_on, effort.healed_on)
        self.trials = Trials(model, few, compared_on, measure)
        self._axes = [axis for axis in limits.axes(graph) if widths_measured(axis, limits)]
        curves = sum(len(widths_measured(axis, limits)) for axis in self._axes)
        self._steps = 1 + curves + 6
        self._step = 0

    def says(self, what: str) -> None:
        if self._progress is not None:
            self._progress(min(self._step, self._steps - 1), self._steps, what)
        self._step += 1

    def says_part(self, number: int, of: int, what: str) -> None:
        """Tell of a part of the step that was told last."""
        if self._progress is not None:
            step = min(self._step, self._steps) - 1
            self._progress(step, self._steps, f"{what}, {number + 1} of {of}")

    def removals(self) -> tuple[dict[str, Removal], dict[str, Curve]]:
        """Order the units of every axis, and measure what going costs."""
        self.clock.begins("order of units")
        self.says("order of units")
        order = self._estimated = Reconstruction(self._healed_on).removals(self._graph)
        self.clock.begins("curves")
        curves: dict[str, Curve] = {}
        for axis in self._axes:
            widths, damage = [axis.width], [0.0]
            readers = None if self._effort.whole else reading(self._graph, axis)
            for width in widths_measured(axis, self._limits):
                self.says(f"{axis.name} at {width} of {axis.width}")
                kept = self._narrowed(axis, width, self._graph.everything)
                widths.append(width)
                damage.append(self._trial("curve", kept, (), readers).damage)
            curves[axis.name] = Curve(tuple(widths), tuple(damage))
        return with_curves(order, curves), curves

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
        return sorted(trials, key=lambda trial: (trial.damage, trial.distance))

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
            found = self.trials.full_measure
            full = "" if found is None else f" The full network measures {found:.4g}."
            raise errors.BudgetError(
                f"No network narrower than the full one keeps `{promise.text}`.{full}\n"
                "Hint: promise less, or train the network on after the cut."
            )
        return kept[::-1]

    def _at_widths_of(self, mask: np.ndarray) -> np.ndarray:
        """Keep as many units of every axis as a mask does, but those that matter most."""
        kept = self._graph.everything
        for axis in self._axes:
            kept = self._narrowed(axis, int(mask[axis.units].sum()), kept)
        return kept

    def _narrowed(self, axis: Axis, width: int, mask: np.ndarray) -> np.ndarray:
        """Return a mask with an axis at another width."""
        kept = mask.copy()
        kept[axis.units] = True
        kept[axis.units.start + self._estimated[axis.name].order[: axis.width - width]] = False
        return kept

    def _trial(
        self,
        name: str,
        kept: np.ndarray,
        budgets: Sequence[Budget],
        layers: Collection[str] | None = None,
    ) -> Trial:
        plan = Plan.of(self._graph, kept, budgets=budgets, method=f"compress, {name}")
        return self.trials.of(name, plan, layers)
