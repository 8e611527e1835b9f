"""Run the narrow network, then the masked one beside it, and note what both compute."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch._C import _functorch as functorch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map_only
from torch.utils.weak import WeakTensorKeyDictionary

from widthwise.graph import ChannelGraph
from widthwise.graph.recording.draws import drawn, given, is_drawn
from widthwise.graph.recording.fused import plain_attention
from widthwise.graph.recording.mode import LabelMode
from widthwise.graph.recording.numbers import is_constant, is_number, numbers_in
from widthwise.graph.recording.places import Frames, Place
from widthwise.network.copying import named_tensors
from widthwise.network.inputs import Inputs
from widthwise.network.outputs import Left, tensors_of
from widthwise.rules import Ids, Label, Op, blank
from widthwise.rules.ledger import NO_NOTES
from widthwise.shrinking.precision import at_least

Outputs = list[tuple[str, list[Tensor]]]
"""What modules put out and decisions are made from, in order; the network itself comes last."""


class Sink(Protocol):
    """What takes outputs as they come; a list of them is one."""

    def append(self, output: tuple[str, list[Tensor]], /) -> None:
        """Take what one module put out, or what one decision was made from."""
        ...


_SAMPLE = 1 << 14


@dataclass
class Notes:
    """What the narrow run did.

    Attributes:
        outputs: What modules put out, and what decisions were made from.
        numbers: The numbers that operators computed with, by module path and operator.
        decisions: Indices and masks that operators made of real numbers, by operator.
        constants: The tensors that Python code wrote down, such as ``torch.tensor(channels)``.
        draws: Random numbers, by operator; see `widthwise.graph.recording.draws`.
        failure: What the forward raised, if it did.
    """

    outputs: Outputs = field(default_factory=list)
    numbers: defaultdict[tuple[str, Any], deque[tuple[float, ...]]] = field(
        default_factory=lambda: defaultdict(deque)
    )
    decisions: list[tuple[Any, list[Tensor]]] = field(default_factory=list)
    constants: list[Tensor] = field(default_factory=list)
    draws: list[tuple[Any, Tensor]] = field(default_factory=list)
    failure: Exception | None = None


def run_narrow(model: nn.Module, inputs: Inputs, dtype: torch.dtype) -> Notes:
    """Run the narrow network.

    Args:
        model: The narrow network.
        inputs: Its inputs.
        dtype: Precision of both, and of what the network computes.

    Returns:
        What it did.
    """
    notes = Notes()
    frames = Frames(model)
    noting = _Noting(notes, frames)
    contexts = (frames.follow(), at_least(dtype), noting)
    notes.failure = _run(model, inputs, notes.outputs, Tensor.clone, *contexts)
    return notes


class _Noting(TorchDispatchMode):
    """Notes what the narrow network computes with and decides, call by call."""

    def __init__(self, notes: Notes, frames: Frames) -> None:
        super().__init__()
        self._notes = notes
        self._frames = frames

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        numbers = numbers_in(func, args, kwargs)
        if numbers:
            self._notes.numbers[self._frames.path, func].append(numbers)
        result = func(*args, **kwargs)
        if is_drawn(func):
            draw, result = drawn(func, args, result)
            self._notes.draws.append((func, draw))
        made = [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, Tensor)]
        if is_constant(func):
            self._notes.constants += [tensor.clone() for tensor in made]
        given = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if _decides(given, made):
            sample = [_sample(tensor) for tensor in given]
            self._notes.outputs.append((_decision(func, self._frames.path), sample))
            taken = [tensor.clone() for tensor in made if not _is_real(tensor)]
            self._notes.decisions.append((func, taken))
        return result


def _decides(given: Sequence[Tensor], made: Sequence[Tensor]) -> bool:
    """Tell whether an operator makes indices or a mask of numbers."""
    return any(map(_is_real, given)) and not all(map(_is_real, made))


def _is_real(tensor: Tensor) -> bool:
    """Tell whether a tensor holds numbers that are not whole."""
    return tensor.is_floating_point() or tensor.is_complex()


def _decision(func: Any, path: str) -> str:
    return f"`{func.overloadpacket}` in {path}" if path else f"`{func.overloadpacket}`"


def _sample(tensor: Tensor) -> Tensor:
    """Return some thousand elements, evenly spread: code that reads values may read many images."""
    flat = tensor.reshape(-1)
    return flat[:: max(len(flat) // _SAMPLE, 1)].clone()


def run_masked(
    model: nn.Module,
    inputs: Inputs,
    dtype: torch.dtype,
    graph: ChannelGraph,
    kept: np.ndarray,
    notes: Notes,
    found: Sink,
) -> None:
    """Run the masked network.

    Where the narrow network computes with another number (a mean's divisor, an attention's scale,
    in a tensor or not), so does this one: it says how many channels there are, not what they hold.
    And it takes the same decisions.

    Args:
        model: The full network, masked.
        inputs: Its inputs.
        dtype: Precision of both, and of what the network computes.
        graph: The trace of the full network.
        kept: Which units stay. Shape ``[units]``, bool.
        notes: What the narrow network did.
        found: Takes what its modules put out, and what it decided from, on kept channels.
    """
    # Weak: a detector's activations do not fit into memory all at once.
    labels = WeakTensorKeyDictionary()
    for name, tensor in named_tensors(model):
        labels[tensor] = graph.slots[name]
    # Ids of constants have no unit: they are numbered -1, and the last entry keeps them.
    stays = np.append(kept, True)
    units = _UnitLabels(labels, stays)
    decisions, constants = iter(notes.decisions), iter(notes.constants)
    draws, drawn_labels = iter(notes.draws), iter(graph.drawn)
    frames = Frames(model)
    values = _NarrowNumbers(notes.numbers, frames)

    def take(value: Tensor) -> Tensor:
        return _pick(value, units.label(value), stays).clone()

    def watch(op: Op, place: Place, out_labels: Sequence[Label]) -> Sequence[Tensor] | None:
        from_weights = units.is_from_weights(op)
        narrow = values.left
        made: Sequence[Tensor] | None = None
        # A weight over the norm of what is masked is not finite (weight norm per input channel).
        if op.mixes or narrow or (from_weights and not all(map(_is_finite, op.outputs))):
            made = _on_kept(op, units, stays, out_labels, iter(narrow) if narrow else None)
        if is_constant(op.func):
            written = next(constants, op.outputs[0])
            if written.shape == op.outputs[0].shape:
                made = [written.clone()]
        if is_drawn(op.func):
            func, draw = next(draws, (None, op.out))
            # What has no ids here may have met some since: the trace knows.
            label = next(drawn_labels, out_labels[0])
            if func is op.func and draw.shape == _pick(op.out, label, stays).shape:
                draw = _place(draw, op.out, label, stays, op.out)
                made = [given(op.func, op.args, op.out, draw)]
        if _decides(op.tensors, op.outputs):
            sample = [_sample(_pick(t, units.label(t), stays)) for t in op.tensors]
            found.append((_decision(op.func, op.path), sample))
            func, taken = next(decisions, (None, []))
            if func is op.func and all(_is_whole(label, stays) for label in out_labels):
                theirs = iter(taken)
                made = [
                    own if _is_real(own) else next(theirs).clone() for own in made or op.outputs
                ]
        # What is computed on kept channels is no longer zero elsewhere as masked weights are.
        if from_weights and made is None:
            units.note_weights(op.outputs)
        return made

    mode = LabelMode(frames, units, NO_NOTES, labels.__setitem__, graph.readings, watch, values)
    _run(model, inputs, found, take, frames.follow(), at_least(dtype), mode)


class _NarrowNumbers:
    """Runs operators as they are, but those that work in place with the narrow network's numbers.

    What is computed in place cannot be computed again.

    Args:
        numbers: What the narrow network computed with, in order. By module and operator: calls may
            differ elsewhere, as PyTorch has other ways to compute where a width is one.
        frames: Of the running network.
    """

    def __init__(
        self, numbers: Mapping[tuple[str, Any], deque[tuple[float, ...]]], frames: Frames
    ) -> None:
        self.left: tuple[float, ...] = ()
        """Of the last operator, if it ran with other numbers than in the narrow network."""
        self._numbers = numbers
        self._frames = frames

    def run(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Run one operator."""
        wide = numbers_in(func, args, kwargs)
        noted = self._numbers.get((self._frames.path, func)) if wide else None
        narrow = noted.popleft() if noted else wide
        self.left = narrow if narrow != wide else ()
        if self.left and func._schema.is_mutable:
            fresh = iter(self.left)
            args = [next(fresh) if is_number(func, value) else value for value in args]
            kwargs = {k: next(fresh) if is_number(func, v) else v for k, v in kwargs.items()}
            self.left = ()
        return func(*args, **kwargs)


def _is_finite(tensor: Tensor) -> bool:
    return bool(tensor.isfinite().all())


def _is_whole(label: Label, stays: np.ndarray) -> bool:
    return all(ids is None or stays[ids].all() for ids in label)


def _run(
    model: nn.Module,
    inputs: Inputs,
    found: Sink,
    take: Callable[[Tensor], Tensor],
    *contexts: AbstractContextManager[object],
) -> Exception | None:
    """Add what the modules of a network put out, in evaluation mode; return what it raised."""
    last = "the input"

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(_: nn.Module, __: object, result: object) -> None:
            nonlocal last
            last = name
            # What is noted here is no call of the network.
            with _disable_current_modes():
                found.append((name, [take(_held(tensor)) for tensor in tensors_of(result)]))

        return note

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if not name or not any(True for _ in module.children())
    ]
    left = Left(model)
    with ExitStack() as stack:
        stack.enter_context(_quietly())
        for context in contexts:
            stack.enter_context(context)
        try:
            inputs.call(model.eval())
        except Exception as error:
            # A wrong cut may not even run; what came before tells where it went wrong.
            found.append((f"what follows `{last}`", []))
            found.append((f"{type(error).__name__}: {error}", []))
            return error
        finally:
            for handle in handles:
                handle.remove()
    for name, tensors in left.found():
        found.append((f"`{name}`", [take(tensor) for tensor in tensors]))
    return None


def _held(tensor: Tensor) -> Tensor:
    """Return the tensor that holds all examples, where `torch.vmap` shows one of them."""
    while functorch.is_batchedtensor(tensor):
        tensor = functorch.get_unwrapped(tensor)
    return tensor


@contextmanager
def _quietly() -> Iterator[None]:
    with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_attention():
        yield


class _UnitLabels:
    """Labels of a pass over a network whose ties are known: they hold unit numbers, not ids."""

    def __init__(self, labels: WeakTensorKeyDictionary, stays: np.ndarray) -> None:
        self._labels = labels
        self._stays = stays
        self._weights = {id(tensor): tensor for tensor in labels}

    def label(self, tensor: Tensor) -> Label:
        found = self._labels.get(tensor)
        return blank(tensor.dim()) if found is None else found

    def is_weight(self, tensor: Tensor) -> bool:
        return id(tensor) in self._weights

    def is_from_weights(self, op: Op) -> bool:
        tensors = op.tensors
        return bool(tensors) and all(self.is_weight(tensor) for tensor in tensors)

    def note_weights(self, made: Sequence[Tensor]) -> None:
        self._weights.update({id(tensor): tensor for tensor in made})

    def new_ids(self, count: int) -> Ids:
        return np.full(count, -1)

    def is_loose(self, ids: Ids) -> bool:
        return bool((ids < 0).all())

    def mix(self, ids: Ids) -> bool:
        return not self._stays[ids].all()


def _on_kept(
    op: Op,
    units: _UnitLabels,
    stays: np.ndarray,
    out_labels: Sequence[Label],
    numbers: Iterator[float] | None,
) -> list[Tensor]:
    """Compute one operator on kept channels, and put the results in their places."""

    def narrow(value: Any) -> Any:
        # Numbers in lists are sizes and dims.
        if numbers is not None and is_number(op.func, value):
            return next(numbers)
        return tree_map_only(Tensor, lambda t: _pick(t, units.label(t), stays), value)

    args = [narrow(value) for value in op.args]
    kwargs = {name: narrow(value) for name, value in op.kwargs.items()}
    op.fit_sizes(args)
    leaves, _ = tree_flatten(op.func(*args, **kwargs))
    results = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    return [
        _place(result, out, label, stays)
        for result, out, label in zip(results, op.outputs, out_labels, strict=True)
    ]


def _pick(tensor: Tensor, label: Label, stays: np.ndarray) -> Tensor:
    for dim, ids in enumerate(label):
        if ids is not None and not stays[ids].all():
            where = torch.as_tensor(np.flatnonzero(stays[ids]), device=tensor.device)
            tensor = tensor.index_select(dim, where)
    return tensor


def _place(
    result: Tensor, out: Tensor, label: Label, stays: np.ndarray, around: Tensor | None = None
) -> Tensor:
    """Put a result for kept channels in their places; around them zeros, or what is given."""
    if result.shape == out.shape:
        return result
    home = out.device
    places = [
        torch.as_tensor(np.arange(size) if ids is None else np.flatnonzero(stays[ids]), device=home)
        for size, ids in zip(out.shape, label, strict=True)
    ]
    full = torch.zeros_like(out) if around is None else around.clone()
    full[torch.meshgrid(*places, indexing="ij")] = result
    return full
