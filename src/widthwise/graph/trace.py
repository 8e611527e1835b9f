"""Trace a network: one forward pass, dry runs until every plan runs, and a channel graph."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten

from widthwise import errors
from widthwise.graph.copying import copy_module, named_tensors, to_meta
from widthwise.graph.dry_run import Failure, rehearse
from widthwise.graph.graph import ChannelGraph
from widthwise.graph.inputs import Inputs
from widthwise.graph.mode import Frames, LabelMode, Place, plain_attention
from widthwise.graph.sheet import Call, Cost, Sheet
from widthwise.graph.units import Units, solve
from widthwise.rules import Ids
from widthwise.rules.labels import all_ids

_OUTPUT = "network output"
_UNUSED = "not used in the forward pass"


def trace(model: nn.Module, example_inputs: Any) -> ChannelGraph:
    """Find out which channels of a network are tied together.

    The forward runs once on the meta device, where tensors have shapes but no values, and then
    again with every axis narrowed, until what cannot be narrowed is frozen. A forward that reads
    values is run on real tensors instead. The model is left exactly as it was: the passes run on a
    copy without weights, in evaluation mode and with one input of the batch, so the graph does not
    depend on the model's mode, on the batch size or on whether its weights exist.

    Args:
        model: Any module, on any device, also ``meta``.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs, as the model is
            called with.

    Returns:
        The channel graph. ``print(graph)`` is the pre-flight report.

    Raises:
        TraceError: If the forward fails on the example inputs, or the model cannot be copied.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3))
        >>> graph = ww.trace(net, torch.zeros(1, 3, 8, 8))
        >>> {name: (axis.width, axis.frozen) for name, axis in graph.axes.items()}
        {'0': (8, None), '1': (4, 'network output')}
        >>> graph.macs()
        12384
    """
    inputs = Inputs.of(example_inputs)
    with _undisturbed():
        study = _open_study(model, inputs)
        units = _settle(study)
        return _to_graph(model, inputs, study, units)


@dataclass
class _Pass:
    """One forward pass to follow: the evaluation pass, or the training pass of auxiliary heads."""

    twin: nn.Module
    inputs: Inputs
    training: bool

    def ready(self) -> nn.Module:
        """Return the network in this pass's mode."""
        return self.twin.train(self.training)


@dataclass
class _Study:
    """A trace in progress."""

    passes: list[_Pass]
    on_meta: bool
    notes: list[str] = field(default_factory=list)
    rescales: bool = False
    readings: dict[Place, int] = field(default_factory=dict)
    verdicts: dict[Place, str] = field(default_factory=dict)
    sheet: Sheet = field(default_factory=Sheet)
    bounds: list[int] = field(default_factory=list)
    macs: list[Cost] = field(default_factory=list)
    activations: list[Cost] = field(default_factory=list)

    def record(self) -> None:
        """Run every pass and write it down on a new sheet."""
        self.sheet = Sheet.of(self.passes[0].twin)
        self.bounds = [0]
        for number, each in enumerate(self.passes):
            self._run(each)
            self.bounds.append(len(self.sheet.calls))
            if number == 0:
                self.macs = list(self.sheet.costs)
                self.activations = self.sheet.activation_costs()

    def _run(self, each: _Pass) -> None:
        sheet = self.sheet
        frames = Frames(each.ready())
        mode = LabelMode(
            frames, sheet, sheet.labels, self.readings, sheet.watch, on_meta=self.on_meta
        )
        try:
            with torch.no_grad(), frames.follow(), mode:
                result = each.inputs.call(each.twin)
        except Exception as error:
            raise _ForwardError(frames.path, error) from error
        for leaf in tree_flatten(result)[0]:
            if isinstance(leaf, Tensor):
                for ids in all_ids(sheet.label(leaf)):
                    sheet.frozen.insert(0, (ids, _OUTPUT))

    def calls(self, number: int) -> Sequence[Call]:
        """Return the calls of one pass."""
        return self.sheet.calls[self.bounds[number] : self.bounds[number + 1]]


class _ForwardError(Exception):
    def __init__(self, path: str, error: Exception) -> None:
        super().__init__(str(error))
        self.path = path
        self.error = error


def _open_study(model: nn.Module, inputs: Inputs) -> _Study:
    """Make the first recording: on the meta device if that serves, else on real tensors."""
    kind = type(model).__name__
    twin = copy_module(model, to_meta)
    last: _ForwardError | None = None
    for sample in _samples(inputs):
        try:
            study = _Study([_Pass(twin, sample.to_meta(), training=False)], on_meta=True)
            study.record()
            return _with_training_pass(study)
        except _ForwardError as failure:
            last = failure
    assert last is not None
    if not _needs_values(last.error):
        raise errors.forward_failed(kind, last.path, inputs.describe(), last.error) from last.error
    if any(tensor.is_meta for _, tensor in named_tensors(model)):
        raise errors.meta_unsupported(kind, last.path, last.error) from last.error
    real = copy_module(model, lambda _, tensor: tensor.detach().clone())
    device = next((tensor.device for _, tensor in named_tensors(real)), torch.device("cpu"))
    note = (
        f"traced on real tensors: the forward reads values in `{last.path or kind}` "
        f"({type(last.error).__name__})"
    )
    given = inputs.map(lambda tensor: _real(tensor).to(device))
    for sample in _samples(given):
        try:
            study = _Study([_Pass(real, sample, training=False)], on_meta=False, notes=[note])
            study.record()
            return _with_training_pass(study)
        except _ForwardError as failure:
            last = failure
    raise errors.forward_failed(kind, last.path, inputs.describe(), last.error) from last.error


def _samples(inputs: Inputs) -> list[Inputs]:
    """Return one input of the batch, then the inputs as given, in case they are no batch."""
    return [inputs] if inputs.batch in (None, 1) else [inputs.with_batch(1), inputs]


def _real(tensor: Tensor) -> Tensor:
    if not tensor.is_meta:
        return tensor.detach()
    noise = torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0))
    return noise.to(tensor.dtype)


def _needs_values(error: Exception) -> bool:
    return isinstance(error, NotImplementedError) or "meta" in str(error).lower()


def _with_training_pass(study: _Study) -> _Study:
    # Auxiliary heads, which only training uses, read features of the trunk: they must be narrowed
    # with it.
    first = study.passes[0]
    unused = {name for name, _ in first.twin.named_parameters()} - study.sheet.used
    if not unused:
        return study
    # Batch normalisation refuses to train on one value per channel.
    inputs = first.inputs.with_batch(2)
    study.passes.append(_Pass(first.twin, inputs, training=True))
    try:
        study.record()
    except _ForwardError:
        study.passes.pop()
        study.record()
    return study


def _settle(study: _Study) -> Units:
    """Repeat the dry run until the narrow network runs."""
    ranks = {name: tensor.dim() for name, tensor in named_tensors(study.passes[0].twin)}
    while True:
        units = solve(study.sheet, _rejected(study), ranks)
        for number, each in enumerate(study.passes):
            calls = study.calls(number)
            outcome = rehearse(each.ready(), each.inputs, calls, units, on_meta=study.on_meta)
            if isinstance(outcome, Failure):
                _blame(study, units, calls, outcome)
                break
            study.rescales |= outcome.rescales
        else:
            return units


def _rejected(study: _Study) -> list[tuple[Ids, str]]:
    """Return the ids that verdicts of the dry run, and disuse, freeze on the present sheet."""
    sheet = study.sheet
    found: list[tuple[Ids, str]] = []
    for call in sheet.calls:
        reason = study.verdicts.get(call.place)
        if reason is not None:
            found.extend((ids, reason) for label in _touched(call) for ids in all_ids(label))
    for slot in sheet.slots:
        if slot.tensor not in sheet.used:
            found.append((np.arange(slot.start, slot.start + slot.length), _UNUSED))
    return found


def _touched(call: Call) -> Sequence[Any]:
    return (*call.inputs, *call.outputs)


def _blame(study: _Study, units: Units, calls: Sequence[Call], failure: Failure) -> None:
    """Reject a reading of the failed call, or freeze what it and its neighbours touch."""
    call = calls[failure.call]
    path = failure.path
    reason = (
        f"`{call.name}` in `{path}`: {failure.message}"
        if path
        else (f"`{call.name}`: {failure.message}")
    )
    reading = study.readings.get(call.place, 0)
    if reading < call.options:
        study.readings[call.place] = reading + 1
        study.record()
        return
    free = np.array([axis.frozen is None for axis in units.axes.values()] + [False])
    owner = np.full(units.count, len(free) - 1)
    for number, axis in enumerate(units.axes.values()):
        owner[axis.units] = number

    def narrows(touched: Sequence[Call]) -> bool:
        return any(
            bool(free[owner[units.of_id[ids]]].any())
            for each in touched
            for label in _touched(each)
            for ids in all_ids(label)
        )

    # The call itself; then everything so far in its module; then in the modules around it.
    if narrows([call]):
        study.verdicts[call.place] = reason
        return
    while True:
        inside = [
            each
            for each in calls[: failure.call + 1]
            if not path or each.path == path or each.path.startswith(path + ".")
        ]
        if narrows(inside):
            study.verdicts.update({each.place: reason for each in inside})
            return
        if not path:
            break
        path = path.rpartition(".")[0]
    # Nothing that ran so far is free, and yet the narrow run differs: freeze the rest.
    if not narrows(calls):
        raise errors.unstable_forward(study.passes[0].twin, reason)
    study.verdicts.update({each.place: reason for each in calls})


def _to_graph(model: nn.Module, inputs: Inputs, study: _Study, units: Units) -> ChannelGraph:
    sheet = study.sheet

    def in_units(costs: list[Cost]) -> list[Cost]:
        converted: dict[int, Ids] = {}
        return [
            Cost(
                cost.coefficient,
                tuple(converted.setdefault(id(ids), units.of_id[ids]) for ids in cost.factors),
            )
            for cost in costs
        ]

    free = np.zeros(units.count, bool)
    for axis in units.axes.values():
        free[axis.units] = axis.frozen is None
    consumed = np.zeros(sheet.id_count, bool)
    for ids in sheet.consumed:
        consumed[ids] = True
    consumers: dict[str, tuple[int, ...]] = {}
    for slot in sheet.slots:
        if consumed[slot.start : slot.start + slot.length].any():
            consumers[slot.tensor] = (*consumers.get(slot.tensor, ()), slot.dim)
    return ChannelGraph(
        model,
        inputs,
        units,
        macs=in_units(study.macs),
        activations=in_units(study.activations),
        consumers=consumers,
        readings=dict(study.readings),
        mixes=study.rescales or any(bool(free[units.of_id[ids]].any()) for ids in sheet.mixed),
        notes=tuple(study.notes),
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave random states as they were."""
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 (the user may use it)
    try:
        with torch.random.fork_rng(devices=[]), plain_attention():
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
