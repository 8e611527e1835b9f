"""Trace a network: one forward pass, dry runs until every plan runs, and a channel graph."""

from __future__ import annotations

import gc
import random
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.arguments import network_in
from widthwise.graph.constraints import Constraints
from widthwise.graph.costs import Cost
from widthwise.graph.dry_run.attempt import Attempt
from widthwise.graph.dry_run.loop import settle
from widthwise.graph.dry_run.study import Study
from widthwise.graph.graph import ChannelGraph
from widthwise.graph.recording.draws import is_drawn
from widthwise.graph.recording.fused import plain_attention, plain_recurrence
from widthwise.graph.recording.passes import ForwardError, Pass
from widthwise.graph.recording.remembered import unfollowed
from widthwise.graph.recording.values import (
    ImaginedValues,
    NoValues,
    RealValues,
    ValueReadError,
    Values,
)
from widthwise.graph.refusals import require_traceable
from widthwise.network.copying import copy_module, named_tensors, to_meta
from widthwise.network.inputs import Inputs
from widthwise.rules import UnitNumbers

_OF_META_TENSORS = re.compile(
    r"\b[mM]eta (?:tensor|device|kernel)|'[mM]eta' (?:device|backend)|\bdevices?\b[^.\n]*\bmeta\b"
)
"""What PyTorch says of a tensor without values; the user's own words may have "meta" in them."""


# Within inference mode, dispatch modes see no convolution.
@torch.inference_mode(False)
def trace(
    model: nn.Module,
    example_inputs: Any = None,
    *,
    calls: Sequence[Any] = (),
    freeze: Iterable[str] = (),
    tie: Iterable[Iterable[str]] = (),
) -> ChannelGraph:
    """Find out which channels of a network are tied together.

    The forward runs once on the meta device, where tensors have shapes but no values, and then
    again with every axis narrowed, until what cannot be narrowed is frozen; at last with every axis
    as narrow as it may get. Values that a forward chooses by are imagined (a mask keeps
    everything); where that does not serve, it is run on real tensors. The model is left exactly as
    it was: the passes run on a copy without weights, in evaluation mode and with one input of the
    batch, so the graph does not depend on the model's mode, on the batch size or on whether its
    weights exist.

    While it runs, some state of the whole process is another, and put back at the end, also after
    an exception: warnings are silent, attention is computed by plain operators
    (`torch.backends.mha` and `sdpa_kernel`), two hooks watch every module's forward
    (`register_module_forward_hook`), and the garbage collector leaves alone what was there before
    (`gc.freeze`, unless somebody else has used it). Random states of Python, NumPy and of torch on
    the CPU are as they were afterwards. Another thread that runs modules meanwhile computes the
    same, but may be slower, go unwarned, and draw numbers that are drawn again.

    Args:
        model: Any module, on any device, also ``meta``. Of one that is compiled or wrapped for data
            parallelism, the module inside.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs, as the model is
            called with.
        calls: Further ways in which it is called: flags, other methods, modes. Each a `Call`, or
            its inputs. They are followed and proven too; costs are those of the first call.
        freeze: Modules or tensors, by name or glob, whose tensors must keep their shapes: what code
            outside of this network relies on. (To leave out axes in one plan, see `plan`.)
        tie: Groups of layers, by path, whose output channels must be kept or removed together,
            index by index, such as ``[("student.conv", "teacher_adapter.conv")]``.

    Returns:
        The channel graph. ``print(graph)`` is the pre-flight report.

    Raises:
        TraceError: If the forward fails on the example inputs, a further call fails, the model
            cannot be copied, or a name is not one of its modules.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Conv2d(8, 4, 3))
        >>> graph = ww.trace(net, torch.zeros(1, 3, 8, 8))
        >>> {name: (axis.width, axis.frozen) for name, axis in graph.axes.items()}
        {'0': (8, None), '1': (4, 'network output')}
        >>> graph.macs()
        12384
    """
    model = network_in(model, "ww.trace(model, example_inputs)")
    inputs = Inputs.of_calls(example_inputs, calls)
    constraints = Constraints.of(freeze, tie)
    for each in (inputs, *inputs.others):
        require_traceable(model, each)
    with _undisturbed():
        study, notes = _open_study(model, inputs, constraints)
        notes += _unread(study)
        settled = study.with_unread_sizes(settle(study))
        return _to_graph(model, inputs, settled, constraints, notes)


def _open_study(
    model: nn.Module, inputs: Inputs, constraints: Constraints
) -> tuple[Study, list[str]]:
    """Make the first recording, without values if that serves; and notes for the report."""
    kind = type(model).__name__
    twin, bare = copy_module(model, to_meta), inputs.to_meta()
    first = _begun(twin, bare, NoValues, constraints)
    if isinstance(first, Study):
        return first, []
    if not _needs_values(first.error):
        raise errors.forward_failed(
            kind, first.path, inputs.describe(), first.error
        ) from first.error
    where = f"the forward reads values in `{first.path or kind}`"
    without_weights = any(tensor.is_meta for _, tensor in named_tensors(model))
    if isinstance(first.error, ValueReadError) and first.error.chooses:
        # What is chosen differs from run to run on real tensors; and the networks are large.
        note = f"traced with imagined values, as if every element were chosen: {where}"
        led: list[Study] = []
        for holds in (True, False):
            values = partial(ImaginedValues, holds=holds)
            imagined = _begun(twin, bare, values, constraints)
            # Imagination may lead past some layers, or nowhere.
            if isinstance(imagined, Study):
                if not imagined.unused:
                    return imagined, [note]
                led.append(imagined)
        if led and without_weights:
            return min(led, key=lambda study: len(study.unused)), [note]
    if without_weights:
        raise errors.meta_unsupported(kind, first.path, first.error) from first.error
    real = copy_module(model, lambda _, tensor: tensor.detach().clone())
    device = next((tensor.device for _, tensor in named_tensors(real)), torch.device("cpu"))
    given = inputs.map(lambda tensor: _real(tensor).to(device))
    note = f"traced on real tensors: {where}"
    last = _begun(real, given, RealValues, constraints)
    if isinstance(last, Study):
        return last, [note]
    raise errors.forward_failed(kind, last.path, inputs.describe(), last.error) from last.error


def _begun(
    twin: nn.Module, inputs: Inputs, values: Callable[[], Values], constraints: Constraints
) -> Study | ForwardError:
    """Record one input of the batch, or the inputs as given, in case they are no batch."""
    for sample in [inputs] if inputs.batch in (None, 1) else [inputs.with_batch(1), inputs]:
        try:
            passes = [Pass(twin, each, each.training) for each in (sample, *sample.others)]
            return _with_training_pass(Study(passes, values, constraints))
        except ForwardError as failure:
            last = failure
    return last


def _real(tensor: Tensor) -> Tensor:
    if not tensor.is_meta:
        return tensor.detach()
    # Whatever the default device is, the generator is on the CPU.
    generator = torch.Generator(device="cpu").manual_seed(0)
    noise = torch.randn(tensor.shape, generator=generator, device="cpu")
    return noise.to(tensor.dtype)


def _needs_values(error: Exception) -> bool:
    return isinstance(error, NotImplementedError | ValueReadError) or bool(
        _OF_META_TENSORS.search(str(error))
    )


def _with_training_pass(study: Study) -> Study:
    # Auxiliary heads, which only training uses, read features of the trunk: they must be narrowed
    # with it. So must what training rolls, returns besides, or keeps in buffers.
    first = study.passes[0]
    # Batch normalisation refuses to train on one value per channel.
    training = Pass(first.twin, first.inputs.with_batch(2), training=True)
    if not study.unused and not study.learns_more_from(training):
        return study
    try:
        return study.with_pass(training)
    except ForwardError:
        return study


def _unread(study: Study) -> list[str]:
    """Note the modules none of whose parameters a pass reads: they stay as they are."""
    reached: dict[str, bool] = {}
    unused = study.unused
    for name, _ in study.passes[0].twin.named_parameters():
        path = name.rpartition(".")[0]
        reached[path] = reached.get(path, False) or name not in unused
    missed = [f"`{path}`" for path, found in reached.items() if path and not found]
    if not missed:
        return []
    return [
        f"the example inputs do not reach {', '.join(missed)}: what they miss keeps its shape, and "
        "may not fit what feeds it in a narrow network"
    ]


def _to_graph(
    model: nn.Module,
    inputs: Inputs,
    settled: Attempt,
    constraints: Constraints,
    notes: Sequence[str],
) -> ChannelGraph:
    units, recording, ledger = settled.units, settled.recording, settled.recording.ledger

    def in_units(costs: list[Cost]) -> list[Cost]:
        converted: dict[int, UnitNumbers] = {}
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
    consumed = ledger.summed()
    consumers: dict[str, tuple[int, ...]] = {}
    for slot in ledger.slots:
        if consumed[slot.start : slot.start + slot.length].any():
            consumers[slot.tensor] = (*consumers.get(slot.tensor, ()), slot.dim)
    return ChannelGraph(
        model,
        inputs,
        units,
        macs=in_units(recording.macs),
        activations=in_units(recording.activations),
        consumers=consumers,
        readings=dict(settled.assumptions.readings),
        drawn=[
            tuple(None if ids is None else units.of_id[ids] for ids in call.outputs[0])
            for call in recording.calls(0)
            if is_drawn(call.func)
        ],
        # What a masked network sums over is zero there: nothing depends on whether it exists.
        mixes=settled.rescales
        or any(bool((free[units.of_id[ids]] & ~consumed[ids]).any()) for ids in ledger.mixed),
        notes=tuple(notes),
        unfollowed=tuple(unfollowed(model, units.slots, units.resized)),
        constraints=constraints,
    )


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Leave random states as they were, and say nothing.

    What PyTorch warns of on trial widths is not the caller's business, and must not become an error
    by the caller's filter.
    """
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 (the user may use it)
    # A pass makes many small objects. What is there already, PyTorch's modules and the network,
    # need not be searched for garbage each time.
    ours = not gc.get_freeze_count()
    if ours:
        gc.freeze()
    try:
        with (
            warnings.catch_warnings(),
            torch.random.fork_rng(devices=[]),
            plain_attention(),
            plain_recurrence(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        if ours:
            gc.unfreeze()
        random.setstate(python)
        np.random.set_state(numbers)  # noqa: NPY002
