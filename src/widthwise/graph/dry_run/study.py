"""A network under study: its passes as recorded, and what would come of assumptions about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property
from weakref import WeakValueDictionary

import numpy as np
from torch import nn

from widthwise.graph.axes import solve
from widthwise.graph.constraints import Constraints
from widthwise.graph.dry_run.assumptions import Assumptions, At
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.rehearsal import Breakdown, Failure, rehearse, run_through
from widthwise.graph.recording.passes import Pass, Recording, record
from widthwise.graph.recording.places import Place
from widthwise.graph.recording.values import Values
from widthwise.graph.training import trains_otherwise
from widthwise.graph.unrun import sizes_of_parts
from widthwise.network.copying import named_tensors, walk
from widthwise.network.narrowing import narrow_module
from widthwise.rules import Ids
from widthwise.rules.labels import all_ids

_UNUSED = "not used in the forward pass"


class Study:
    """Answers what would come of assumptions about a network's code. No answer changes it.

    Args:
        passes: Forward passes to follow, that of evaluation first. Recorded at once.
        values: What the operators of a pass run on.
        constraints: What the user asks to freeze and to tie.

    Raises:
        ForwardError: If the network's forward fails.
    """

    def __init__(
        self, passes: Iterable[Pass], values: Callable[[], Values], constraints: Constraints
    ) -> None:
        self.passes = tuple(passes)
        self.constraints = constraints
        self._values = values
        # A recording lives as long as an attempt that rests on it; the first one always.
        self._recordings: WeakValueDictionary[frozenset[tuple[Place, int]], Recording] = (
            WeakValueDictionary()
        )
        self._first = self._recording({})

    @cached_property
    def modules(self) -> Mapping[str, nn.Module]:
        """The modules of the full network by path."""
        return dict(walk(self.passes[0].twin))

    @property
    def unused(self) -> set[str]:
        """Names of the parameters that no pass reads."""
        return {
            name for name, _ in self.passes[0].twin.named_parameters()
        } - self._first.ledger.used

    def learns_more_from(self, training: Pass) -> bool:
        """Tell whether a training pass does what evaluation does not; see `trains_otherwise`."""
        return trains_otherwise(training, self._first, self._values())

    def with_pass(self, added: Pass) -> Study:
        """Return the study of one more pass.

        Raises:
            ForwardError: If that pass fails.
        """
        return Study((*self.passes, added), self._values, self.constraints)

    def under(self, assumptions: Assumptions) -> Attempt:
        """Tell what comes of assumptions: units and axes, and how narrow networks run.

        Args:
            assumptions: What to assume.

        Returns:
            The attempt, tried.
        """
        return self.tried(self.solved(assumptions))

    def solved(self, assumptions: Assumptions) -> Attempt:
        """Tell what units and axes come of assumptions; no narrow network is run."""
        recording = self._recording(assumptions.readings)
        siblings = recording.siblings
        units = solve(
            recording.ledger,
            frozen=self._frozen(recording, assumptions),
            ties=list(assumptions.ties(siblings)),
            resized=assumptions.resized(siblings),
            ranks={name: tensor.dim() for name, tensor in named_tensors(self.passes[0].twin)},
        )
        return Attempt(assumptions, recording, units)

    def tried(self, attempt: Attempt, *, beyond: Attempt | None = None) -> Attempt:
        """Run narrow networks, and find the first call that fails in any of them.

        Args:
            attempt: Units and axes to run them at.
            beyond: One that failed: only whether this one gets further than it is of interest.

        Returns:
            The same attempt, with its first failure or without one.
        """
        rescales, failed = False, None
        for trial, kept in enumerate(attempt.trials):
            for number, each in enumerate(self.passes):
                # What failed already is the last call that another trial can fail before.
                last = failed.last_call(number) if failed is not None else None
                if last is not None and last < 0:
                    break
                outcome = rehearse(
                    each.ready(),
                    each.inputs,
                    attempt.recording.calls(number),
                    attempt.units,
                    kept,
                    self._values(),
                    last=last,
                )
                if isinstance(outcome, Failure):
                    found = attempt.failed(outcome, kept=kept, trial=trial, number=number)
                    if beyond is not None and not found.gets_further_than(beyond):
                        return found
                    # A width may suit a call by luck: that another trial got further says little.
                    if failed is None or failed.fails_after(found):
                        failed = found
                    break
                rescales |= outcome.rescales
        return replace(attempt, rescales=rescales) if failed is None else failed

    def with_unread_sizes(self, attempt: Attempt) -> Attempt:
        """Return an attempt with the attributes that code follows which no pass runs."""
        recording = attempt.recording
        found = sizes_of_parts(
            self.passes[0], recording.calls(0), recording.results[0], attempt.units, self._values()
        )
        resized = {**attempt.units.resized, **found}
        return replace(attempt, units=replace(attempt.units, resized=resized))

    def breakdown(self, attempt: Attempt, kept: np.ndarray) -> Breakdown | None:
        """Run a narrow network of any widths through, without comparing its calls.

        Args:
            attempt: Units and axes.
            kept: Which units stay. Shape ``[units]``, bool.

        Returns:
            Where it broke down, if it did.
        """
        units, recording = attempt.units, attempt.recording
        for number, each in enumerate(self.passes):
            small = narrow_module(each.ready(), units.slots, units.resized, kept)
            results = recording.results[number]
            found = run_through(small, each.inputs, results, self._values(), number)
            if found is not None:
                return found
        return None

    def _recording(self, readings: Mapping[Place, int]) -> Recording:
        key = frozenset(readings.items())
        found = self._recordings.get(key)
        if found is None:
            found = record(self.passes, self.constraints, readings, self._values)
            self._recordings[key] = found
        return found

    def _frozen(self, recording: Recording, assumptions: Assumptions) -> list[tuple[Ids, str]]:
        """Return the ids that assumptions, and disuse, freeze in a recording."""
        found: list[tuple[Ids, str]] = []
        for where, reason in assumptions.frozen.items():
            place, dim = (where.place, where) if isinstance(where, At) else (where, None)
            for call in recording.siblings.everywhere(place):
                labels = (*call.inputs, *call.outputs)
                every = [ids for label in labels for ids in all_ids(label)]
                touched = every if dim is None else [dim.ids(call)]
                found.extend((ids, reason) for ids in touched if ids is not None)
        for slot in recording.ledger.slots:
            if slot.tensor not in recording.ledger.used:
                found.append((slot.ids, _UNUSED))
        return found
