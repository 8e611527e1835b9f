"""Run a network's forward passes, and write down what they do."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.graph.axes import OUTPUT
from widthwise.graph.constraints import Constraints
from widthwise.graph.costs import Cost
from widthwise.graph.recording.blame import OwnError
from widthwise.graph.recording.ledger import Call, PassLedger
from widthwise.graph.recording.mode import LabelMode
from widthwise.graph.recording.places import Frames, Place
from widthwise.graph.recording.recurrence import note_recurrence
from widthwise.graph.recording.remembered import listen
from widthwise.graph.recording.siblings import Siblings
from widthwise.graph.recording.values import Values
from widthwise.network.copying import copy_module
from widthwise.network.inputs import Inputs
from widthwise.network.outputs import Left, tensors_of
from widthwise.rules.convolution import COLOURS
from widthwise.rules.labels import all_ids
from widthwise.rules.op import shape_of


class ForwardError(Exception):
    """The network's own forward raised during a full pass.

    Attributes:
        path: Path of the running module.
        error: What it raised.
    """

    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(str(error))
        self.path = path
        self.error = error


@dataclass(frozen=True)
class Pass:
    """One forward pass to follow: the evaluation pass, or the training pass of auxiliary heads."""

    twin: nn.Module
    inputs: Inputs
    training: bool = False

    def ready(self) -> nn.Module:
        """Return the network, put into this pass's mode; random numbers start anew."""
        # Code that skips layers by chance takes the same way in each run.
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002 (the user may draw from it)
        torch.default_generator.manual_seed(0)
        return self.twin.train(self.training)


@dataclass
class Recording:
    """What all passes wrote down under some readings.

    Attributes:
        ledger: Ids, ties and calls.
        macs: MACs of the evaluation pass.
        activations: Bytes the evaluation pass writes.
        bounds: Where the calls of each pass begin, and the end.
        results: Of each pass the shapes of the tensors that the network returns.
    """

    ledger: PassLedger
    macs: list[Cost] = field(default_factory=list)
    activations: list[Cost] = field(default_factory=list)
    bounds: list[int] = field(default_factory=lambda: [0])
    results: list[list[tuple[int, ...]]] = field(default_factory=list)

    @cached_property
    def siblings(self) -> Siblings:
        """All calls, to be found by place. To be asked for when all are written down."""
        return Siblings(map(self.calls, range(len(self.bounds) - 1)), self.ledger.anchors)

    def calls(self, number: int) -> Sequence[Call]:
        """Return the calls of one pass."""
        return self.ledger.calls[slice(*self.bounds[number : number + 2])]


def record(
    passes: Sequence[Pass],
    constraints: Constraints,
    readings: Mapping[Place, int],
    values: Callable[[], Values],
) -> Recording:
    """Run every pass and write it down on one ledger.

    Args:
        passes: The passes, that of evaluation first. Their networks are put into evaluation or
            training mode, and not changed otherwise.
        constraints: What the user asks to freeze and to tie.
        readings: The reading to use at places where rules have a choice.
        values: What the operators of a pass run on.

    Returns:
        The recording.

    Raises:
        ForwardError: If a forward fails.
        TraceError: If no tensor is found in what the evaluation pass returns.
    """
    new = Recording(PassLedger.of(passes[0].twin))
    constraints.write(new.ledger, passes[0].twin)
    note_recurrence(new.ledger, passes[0].twin)
    for number, each in enumerate(passes):
        returned = _follow(each, new.ledger, dict(readings), values())
        if not number and not returned:
            raise errors.nothing_returned(type(each.twin).__name__)
        new.results.append([shape_of(tensor) for tensor in returned])
        new.bounds.append(len(new.ledger.calls))
        if number == 0:
            new.macs = list(new.ledger.costs)
            new.activations = new.ledger.activation_costs()
    return new


def _follow(
    each: Pass, ledger: PassLedger, readings: dict[Place, int], values: Values
) -> list[Tensor]:
    """Run one pass, and return the tensors that come out."""
    # A copy: what a first run caches in its modules is not there when narrow ones run first.
    twin = copy_module(each.ready(), lambda _, tensor: tensor)
    listen(twin, ledger)
    frames, left = Frames(twin), Left(twin)
    mode = LabelMode(frames, ledger, ledger, ledger.remember, readings, ledger.watch, values)
    try:
        with torch.no_grad(), frames.follow(), mode:
            result = each.inputs.call(twin)
    except OwnError as error:
        raise error.reveal() from None
    except Exception as error:
        raise ForwardError(frames.path, error) from error
    returned = tensors_of(result)
    # Whoever called the network may read those too, such as a loss; weights made anew are none.
    kept = [
        (tensor, f"left on the network as `{name}`")
        for name, found in left.found()
        for tensor in found
        if not ledger.is_weight(tensor)
    ]
    _keep_colours(ledger, returned)
    for tensor, reason in (*kept, *((tensor, OUTPUT) for tensor in returned)):
        ledger.read(tensor)
        for ids in all_ids(ledger.label(tensor)):
            ledger.frozen.insert(0, (ids, reason))
    return returned


def _keep_colours(ledger: PassLedger, returned: Sequence[Tensor]) -> None:
    """Freeze what is no wider than an image that a convolution makes of it at the end."""
    for tensor in returned:
        ids = ledger.label(tensor)[1] if tensor.dim() == 4 else None
        if ids is None or len(ids) > COLOURS:
            continue
        for call in ledger.calls:
            if not call.is_convolution:
                continue
            made, read = call.outputs[0][1], call.inputs[0][1]
            if made is None or read is None or not np.array_equal(made, ids):
                continue
            if 1 < len(read) <= len(ids):
                reason = f"has no more channels than the image that `{call.path}` makes of it"
                ledger.freeze(read, reason)
