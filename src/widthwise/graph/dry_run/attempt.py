"""What came of a set of assumptions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from widthwise.graph.axes import Units
from widthwise.graph.dry_run.assumptions import Assumptions
from widthwise.graph.dry_run.rehearsal import Failure
from widthwise.graph.dry_run.trials import trial_masks
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.passes import Recording


@dataclass(frozen=True)
class Attempt:
    """Assumptions, the units that come of them, and how narrow networks ran.

    One that has not been tried, or that ran as foretold, has no failure.

    Attributes:
        assumptions: What was assumed.
        recording: What the full passes wrote down under these readings.
        units: Units and axes.
        failure: Where a narrow run first went another way than the full one.
        kept: Which units that run kept. Shape ``[units]``, bool.
        trial: Number of its mask.
        number: Number of its pass.
        rescales: Whether the narrow networks compute with numbers that depend on widths.
    """

    assumptions: Assumptions
    recording: Recording
    units: Units
    failure: Failure | None = None
    kept: np.ndarray = field(default_factory=lambda: np.empty(0, bool))
    trial: int = 0
    number: int = 0
    rescales: bool = False

    def failed(self, failure: Failure, *, kept: np.ndarray, trial: int, number: int) -> Attempt:
        """Return this attempt with a failure."""
        return replace(self, failure=failure, kept=kept, trial=trial, number=number)

    @cached_property
    def calls(self) -> Sequence[Call]:
        """The calls of the full pass whose narrow run failed."""
        return self.recording.calls(self.number)

    @cached_property
    def kept_ids(self) -> np.ndarray:
        """Which ids the failed run kept. Shape ``[ids]``, bool."""
        return np.asarray(self.kept[self.units.of_id])

    @cached_property
    def trials(self) -> Sequence[np.ndarray]:
        """Which units stay in each narrow run: one run more where widths are held for equal."""
        return trial_masks(self.units, guessed=bool(self.assumptions.equals))

    @cached_property
    def signature(self) -> Hashable:
        """What decides how narrow networks run: attempts of one signature run alike."""
        units = self.units
        axes = tuple((name, axis.frozen is None) for name, axis in units.axes.items())
        resized = tuple(
            (where, tuple(size if isinstance(size, int) else size.tobytes() for size in sizes))
            for where, sizes in units.resized.items()
        )
        readings = frozenset(self.assumptions.readings.items())
        return readings, units.of_id.tobytes(), axes, resized, bool(self.assumptions.equals)

    @cached_property
    def narrow_ids(self) -> np.ndarray:
        """Which ids are of axes that trials narrow, if not this one. Shape ``[ids]``, bool."""
        narrow = np.zeros(self.units.count, bool)
        for axis in self.units.axes.values():
            narrow[axis.units] = axis.frozen is None and axis.width > 1
        return np.asarray(narrow[self.units.of_id])

    @cached_property
    def room(self) -> int:
        """How many units may go: every free axis keeps one."""
        return sum(axis.width - 1 for axis in self.units.axes.values() if axis.frozen is None)

    def gets_further_than(self, other: Attempt) -> bool:
        """Tell whether this one failed later than another that failed, or not at all."""
        return self.failure is None or (self._reached, self.trial) > (other._reached, other.trial)

    def fails_after(self, other: Attempt) -> bool:
        """Tell whether another that failed says more: it failed earlier, or in the call itself."""
        return (self._reached, self._diverged) > (other._reached, other._diverged)

    def last_call(self, number: int) -> int | None:
        """Return the last call of a pass before which something else may fail; None for all.

        Negative for passes that come after the one that failed.
        """
        if self.failure is None or number < self.number:
            return None
        return self.failure.call + self._diverged if number == self.number else -1

    @property
    def _reached(self) -> tuple[int, int]:
        call = -1 if self.failure is None else self.failure.call
        return self.number, call + self._diverged

    @property
    def _diverged(self) -> bool:
        return self.failure is not None and self.failure.diverged
