"""A trace in progress: passes over the network, what they wrote down, and dry runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from widthwise.graph.axes import OUTPUT, Units, solve
from widthwise.graph.constraints import Constraints
from widthwise.graph.costs import Cost
from widthwise.graph.dry_run.assumptions import Assumptions, At
from widthwise.graph.dry_run.rehearsal import Failure, Success, rehearse
from widthwise.graph.recording.ledger import Call, PassLedger
from widthwise.graph.recording.mode import LabelMode
from widthwise.graph.recording.places import Frames, Place
from widthwise.graph.recording.siblings import Siblings
from widthwise.graph.recording.values import Values
from widthwise.network.copying import copy_module, named_tensors
from widthwise.network.inputs import Inputs
from widthwise.rules import Ids
from widthwise.rules.labels import all_ids

_UNUSED = "not used in the forward pass"


class ForwardError(Exception):
    """The network's own forward raised during a full pass."""

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(str(error))
        self.path = path
        self.error = error


@dataclass
class Pass:
    """One forward pass to follow: the evaluation pass, or the training pass of auxiliary heads."""

    twin: nn.Module
    inputs: Inputs
    training: bool

    def ready(self) -> nn.Module:
        """Return the network in this pass's mode."""
        return self.twin.train(self.training)


@dataclass(frozen=True)
class Stumble:
    """Where a dry run failed."""

    trial: int
    """Number of the dry run."""
    number: int
    """Of the pass."""
    failure: Failure

    @property
    def progress(self) -> tuple[int, int, int]:
        """How far it got."""
        return self.trial, self.number, self.failure.call


@dataclass
class Recording:
    """What all passes wrote down under some readings.

    Attributes:
        readings: The readings.
        ledger: Ids, ties and calls.
        macs: MACs of the evaluation pass.
        activations: Bytes the evaluation pass writes.
        bounds: Where the calls of each pass begin, and the end.
    """

    readings: dict[Place, int]
    ledger: PassLedger
    macs: list[Cost] = field(default_factory=list)
    activations: list[Cost] = field(default_factory=list)
    bounds: list[int] = field(default_factory=lambda: [0])

    @cached_property
    def siblings(self) -> Siblings:
        """All calls, to be found by place. To be asked for when all are written down."""
        return Siblings(map(self.calls, range(len(self.bounds) - 1)), self.ledger.anchors)

    def calls(self, number: int) -> Sequence[Call]:
        """Return the calls of one pass."""
        return self.ledger.calls[slice(*self.bounds[number : number + 2])]


@dataclass
class Study:
    """A trace in progress.

    Attributes:
        passes: Forward passes to follow, the evaluation pass first.
        values: What the operators of a pass run on.
        constraints: What the user asks to freeze and to tie.
        notes: For the reader of the report.
        assumptions: What is assumed about the code so far.
        recording: What the passes wrote down.
    """

    passes: list[Pass]
    values: Callable[[], Values]
    constraints: Constraints = field(default_factory=Constraints)
    notes: list[str] = field(default_factory=list)
    assumptions: Assumptions = field(default_factory=Assumptions)
    recording: Recording = field(default_factory=lambda: Recording({}, PassLedger()))
    _before: Recording | None = None

    def record(self) -> None:
        """Run every pass and write it down on a new ledger.

        Raises:
            ForwardError: If the network's forward fails.
        """
        twin = self.passes[0].twin
        new = Recording(dict(self.assumptions.readings), PassLedger.of(twin))
        self.recording = new
        self.constraints.write(new.ledger, twin)
        for number, each in enumerate(self.passes):
            self._run(each)
            new.bounds.append(len(new.ledger.calls))
            if number == 0:
                new.macs = list(new.ledger.costs)
                new.activations = new.ledger.activation_costs()

    @property
    def ledger(self) -> PassLedger:
        """What the passes wrote down."""
        return self.recording.ledger

    def _run(self, each: Pass) -> None:
        ledger = self.ledger
        # A copy: what a first run caches in its modules is not there when narrow ones run first.
        twin = copy_module(each.ready(), lambda _, tensor: tensor)
        frames = Frames(twin)
        readings = dict(self.assumptions.readings)
        mode = LabelMode(
            frames, ledger, ledger, ledger.remember, readings, ledger.watch, self.values()
        )
        try:
            with torch.no_grad(), frames.follow(), mode:
                result = each.inputs.call(twin)
        except Exception as error:
            raise ForwardError(frames.path, error) from error
        for leaf in tree_flatten(result)[0]:
            if isinstance(leaf, Tensor):
                for ids in all_ids(ledger.label(leaf)):
                    ledger.frozen.insert(0, (ids, OUTPUT))

    @property
    def unused(self) -> set[str]:
        """Names of the parameters that no pass read."""
        twin = self.passes[0].twin
        return {name for name, _ in twin.named_parameters()} - self.ledger.used

    def calls(self, number: int) -> Sequence[Call]:
        """Return the calls of one pass."""
        return self.recording.calls(number)

    def assume(self, assumptions: Assumptions) -> None:
        """Go on under other assumptions; readings need another recording."""
        if dict(assumptions.readings) == dict(self.assumptions.readings):
            self.assumptions = assumptions
            return
        # What was tried did not help, more often than not, and then the one before is asked for.
        before, self._before = self._before, self.recording
        self.assumptions = assumptions
        if before is not None and before.readings == dict(assumptions.readings):
            self.recording = before
        else:
            self.record()

    def units(self) -> Units:
        """Return units and axes under the present assumptions."""
        ranks = {name: tensor.dim() for name, tensor in named_tensors(self.passes[0].twin)}
        siblings = self.recording.siblings
        return solve(
            self.ledger,
            frozen=self._frozen(),
            ties=list(self.assumptions.ties(siblings)),
            resized=self.assumptions.resized(siblings),
            ranks=ranks,
        )

    def _frozen(self) -> list[tuple[Ids, str]]:
        """Return the ids that assumptions, and disuse, freeze on the present ledger."""
        found: list[tuple[Ids, str]] = []
        for where, reason in self.assumptions.frozen.items():
            place, dim = (where.place, where) if isinstance(where, At) else (where, None)
            for call in self.recording.siblings.everywhere(place):
                labels = (*call.inputs, *call.outputs)
                every = [ids for label in labels for ids in all_ids(label)]
                touched = every if dim is None else [dim.ids(call)]
                found.extend((ids, reason) for ids in touched if ids is not None)
        for slot in self.ledger.slots:
            if slot.tensor not in self.ledger.used:
                found.append((np.arange(slot.start, slot.start + slot.length), _UNUSED))
        return found

    def dry_run(self, units: Units, kept: np.ndarray, trial: int) -> Success | Stumble:
        """Run every pass with some units removed, and return the first failure.

        Args:
            units: Units and axes.
            kept: Which units stay. Shape ``[units]``, bool.
            trial: Number of this dry run, for the record.

        Returns:
            The first failure, or success.
        """
        rescales = False
        for number, each in enumerate(self.passes):
            outcome = rehearse(
                each.ready(),
                each.inputs,
                self.calls(number),
                units,
                kept,
                self.values(),
            )
            if isinstance(outcome, Failure):
                return Stumble(trial, number, outcome)
            rescales |= outcome.rescales
        return Success(rescales)
