"""A trace in progress: passes over the network, what they wrote down, and dry runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from widthwise.graph.assumptions import Assumptions
from widthwise.graph.copying import named_tensors
from widthwise.graph.dry_run import Failure, Success, rehearse
from widthwise.graph.inputs import Inputs
from widthwise.graph.mode import Frames, LabelMode
from widthwise.graph.sheet import Call, Cost, Sheet
from widthwise.graph.units import OUTPUT, Units, solve
from widthwise.graph.wishes import Wishes
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
class Study:
    """A trace in progress.

    Attributes:
        passes: Forward passes to follow, the evaluation pass first.
        on_meta: Whether they run on the meta device.
        wishes: What the user asks to freeze and to tie.
        notes: For the reader of the report.
        assumptions: What is assumed about the code so far.
        sheet: What the passes wrote down.
        macs: MACs of the evaluation pass.
        activations: Bytes the evaluation pass writes.
    """

    passes: list[Pass]
    on_meta: bool
    wishes: Wishes = field(default_factory=Wishes)
    notes: list[str] = field(default_factory=list)
    assumptions: Assumptions = field(default_factory=Assumptions)
    sheet: Sheet = field(default_factory=Sheet)
    macs: list[Cost] = field(default_factory=list)
    activations: list[Cost] = field(default_factory=list)
    _bounds: list[int] = field(default_factory=list)

    def record(self) -> None:
        """Run every pass and write it down on a new sheet.

        Raises:
            ForwardError: If the network's forward fails.
        """
        self.sheet = Sheet.of(self.passes[0].twin)
        self.wishes.write(self.sheet, self.passes[0].twin)
        self._bounds = [0]
        for number, each in enumerate(self.passes):
            self._run(each)
            self._bounds.append(len(self.sheet.calls))
            if number == 0:
                self.macs = list(self.sheet.costs)
                self.activations = self.sheet.activation_costs()

    def _run(self, each: Pass) -> None:
        sheet = self.sheet
        frames = Frames(each.ready())
        readings = dict(self.assumptions.readings)
        mode = LabelMode(frames, sheet, sheet.labels, readings, sheet.watch, on_meta=self.on_meta)
        try:
            with torch.no_grad(), frames.follow(), mode:
                result = each.inputs.call(each.twin)
        except Exception as error:
            raise ForwardError(frames.path, error) from error
        for leaf in tree_flatten(result)[0]:
            if isinstance(leaf, Tensor):
                for ids in all_ids(sheet.label(leaf)):
                    sheet.frozen.insert(0, (ids, OUTPUT))

    def calls(self, number: int) -> Sequence[Call]:
        """Return the calls of one pass."""
        return self.sheet.calls[self._bounds[number] : self._bounds[number + 1]]

    def assume(self, assumptions: Assumptions) -> None:
        """Go on under other assumptions; readings need a new recording."""
        anew = dict(assumptions.readings) != dict(self.assumptions.readings)
        self.assumptions = assumptions
        if anew:
            self.record()

    def units(self) -> Units:
        """Return units and axes under the present assumptions."""
        ranks = {name: tensor.dim() for name, tensor in named_tensors(self.passes[0].twin)}
        calls = self.sheet.calls
        return solve(
            self.sheet,
            frozen=self._frozen(),
            ties=list(self.assumptions.ties(calls)),
            resized=self.assumptions.resized(calls),
            ranks=ranks,
        )

    def _frozen(self) -> list[tuple[Ids, str]]:
        """Return the ids that assumptions, and disuse, freeze on the present sheet."""
        found: list[tuple[Ids, str]] = []
        for call in self.sheet.calls:
            reason = self.assumptions.frozen.get(call.place)
            if reason is not None:
                labels = (*call.inputs, *call.outputs)
                found.extend((ids, reason) for label in labels for ids in all_ids(label))
        for slot in self.sheet.slots:
            if slot.tensor not in self.sheet.used:
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
                on_meta=self.on_meta,
            )
            if isinstance(outcome, Failure):
                return Stumble(trial, number, outcome)
            rescales |= outcome.rescales
        return Success(rescales)
