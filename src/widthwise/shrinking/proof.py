"""The proof: the masked network and the narrow network agree.

The masked network is the full one with the weights that read removed channels set to zero, so
whatever those channels hold reaches nobody. Where results depend on which channels exist by more
than weights (a layer norm, a mean over channels, queries times keys), no mask of weights does that;
there the full network computes these operators on kept channels only, and the proof says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

from widthwise import errors
from widthwise.graph import ChannelGraph
from widthwise.graph.copying import copy_module, named_tensors
from widthwise.graph.inputs import Inputs
from widthwise.graph.mode import Frames, LabelMode, Place, is_number, numbers_in, plain_attention
from widthwise.rules import Ids, Label, Op, blank

TOLERANCE = 1e-5
"""Largest relative error of the outputs in float32."""


@dataclass(frozen=True)
class Proof:
    """How well masked and narrow network agree."""

    error: float
    """Largest difference of any module's outputs, relative to their largest value."""
    dtype: torch.dtype
    """Precision it was computed in: float64 where rounding in float32 hid the agreement."""
    on_kept_channels: bool
    """Whether some operators of the full network were computed on kept channels only."""


def prove(model: nn.Module, small: nn.Module, graph: ChannelGraph, kept: np.ndarray) -> Proof:
    """Compare the masked network with the narrow one on the example inputs, module by module.

    The outputs of every leaf module are compared on kept channels, and those of the network, each
    relative to its own size: a signal that fades or a head that starts at zero hides nothing. Both
    run in evaluation mode on copies; neither is changed. Networks so deep that float32 rounding
    exceeds the tolerance are compared again in float64.

    Args:
        model: The full network.
        small: The narrow network.
        graph: The trace of the full network.
        kept: Which units stay. Shape ``[units]``, bool.

    Returns:
        The proof.

    Raises:
        ProofError: If they differ; names the first module whose output does.
    """
    for dtype in (torch.float32, torch.float64):
        inputs = _inputs(graph, model, dtype)
        numbers = _Numbers()
        found = _run(copy_module(small, _to(dtype)), inputs, Tensor.clone, numbers)
        masked = _masked(model, graph, kept, dtype)
        expected = _run_masked(masked, inputs, graph, kept, numbers.of_calls)
        where, error = _compare(expected, found)
        if error <= TOLERANCE:
            return Proof(error, dtype, graph.mixes)
    for name, outputs in expected:
        if not all(bool(output.isfinite().all()) for output in outputs):
            raise errors.nothing_to_prove(name or "the network's output")
    raise errors.proof_failed(where, error, TOLERANCE)


Outputs = list[tuple[str, list[Tensor]]]
"""What modules put out, in order of execution; the network itself comes last."""


def _to(dtype: torch.dtype) -> Callable[[str, Tensor], Tensor]:
    return lambda _, tensor: _cast(tensor, dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    return tensor.detach().to(dtype) if tensor.is_floating_point() else tensor.detach()


def _masked(
    model: nn.Module, graph: ChannelGraph, kept: np.ndarray, dtype: torch.dtype
) -> nn.Module:
    """Copy the network with the consumers of removed channels zeroed."""

    def change(name: str, tensor: Tensor) -> Tensor:
        new = _cast(tensor, dtype)
        for dim in graph.consumers.get(name, ()):
            units = graph.slots[name][dim]
            assert units is not None
            removed = np.flatnonzero(~kept[units])
            if len(removed):
                new = new.index_fill(dim, torch.as_tensor(removed, device=new.device), 0)
        return new

    return copy_module(model, change)


def _inputs(graph: ChannelGraph, model: nn.Module, dtype: torch.dtype) -> Inputs:
    device = next((tensor.device for _, tensor in named_tensors(model)), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)

    def values(tensor: Tensor) -> Tensor:
        if not tensor.is_floating_point():
            return torch.zeros_like(tensor, device=device) if tensor.is_meta else tensor.to(device)
        # Zeros, a common example input, would prove little.
        return torch.randn(tensor.shape, generator=generator).to(device, dtype)

    return graph.inputs.map(values)


class _Numbers(TorchDispatchMode):
    """Notes the numbers that the narrow network computes with, call by call."""

    def __init__(self) -> None:
        super().__init__()
        self.of_calls: list[tuple[Any, tuple[float, ...]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        numbers = numbers_in(func, args, kwargs or {})
        # Calls without numbers may differ: a copy is not made where a width is one.
        if numbers:
            self.of_calls.append((func, numbers))
        return func(*args, **(kwargs or {}))


def _run_masked(
    model: nn.Module,
    inputs: Inputs,
    graph: ChannelGraph,
    kept: np.ndarray,
    numbers: Sequence[tuple[Any, tuple[float, ...]]],
) -> Outputs:
    """Run the masked network, and return what its modules put out on kept channels."""
    # Where the narrow network computes with another number (a mean's divisor, an attention's
    # scale), so does this one: it says how many channels there are, not what they hold.
    pending = iter(numbers)
    labels: dict[int, tuple[Tensor, Label]] = {
        id(tensor): (tensor, graph.slots[name]) for name, tensor in named_tensors(model)
    }
    # Ids of constants have no unit: they are numbered -1, and the last entry keeps them.
    stays = np.append(kept, True)
    ledger = _Unwritten(labels, stays)

    def watch(op: Op, place: Place, out_labels: Sequence[Label]) -> Sequence[Tensor] | None:
        ledger.note_weights(op)
        wide = numbers_in(op.func, op.args, op.kwargs)
        func, narrow = next(pending, (None, ())) if wide else (None, ())
        renumbered = func is op.func and narrow != wide
        if not (op.mixes or renumbered):
            return None
        return _on_kept(op, ledger, stays, out_labels, iter(narrow) if renumbered else None)

    frames = Frames(model)
    mode = LabelMode(frames, ledger, labels, graph.readings, watch, on_meta=False)

    def take(value: Tensor) -> Tensor:
        return _pick(value, ledger.label(value), stays).clone()

    return _run(model, inputs, take, frames.follow(), mode)


def _run(
    model: nn.Module,
    inputs: Inputs,
    take: Callable[[Tensor], Tensor],
    *contexts: AbstractContextManager[object],
) -> Outputs:
    """Run a network in evaluation mode, and return what its modules put out."""
    found: Outputs = []

    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        def note(_: nn.Module, __: object, result: object) -> None:
            leaves, _spec = tree_flatten(result)
            # What is noted here is no call of the network.
            with _disable_current_modes():
                found.append((name, [take(leaf) for leaf in leaves if isinstance(leaf, Tensor)]))

        return note

    handles = [
        module.register_forward_hook(hook(name))
        for name, module in model.named_modules()
        if not name or not any(True for _ in module.children())
    ]
    with ExitStack() as stack:
        stack.enter_context(_quietly())
        for context in contexts:
            stack.enter_context(context)
        try:
            inputs.call(model.eval())
        except (RuntimeError, ValueError, AssertionError, IndexError) as error:
            # A wrong cut may not even run; what came before tells where it went wrong.
            found.append((f"what follows `{found[-1][0] if found else 'the input'}`", []))
            found.append((f"{type(error).__name__}: {error}", []))
        finally:
            for handle in handles:
                handle.remove()
    return found


def _compare(expected: Outputs, found: Outputs) -> tuple[str, float]:
    """Return the first module that differs, or else the one that differs most, and by how much."""
    worst = ("", 0.0)
    for (name, wide), (other, narrow) in zip_longest(expected, found, fillvalue=("", [])):
        error = _difference(wide, narrow) if name == other else float("inf")
        if error > TOLERANCE:
            return name or "the network's output", error
        worst = max(worst, (name, error), key=lambda item: item[1])
    return worst


@contextmanager
def _quietly() -> Iterator[None]:
    with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_attention():
        yield


def _difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Return the largest relative difference; infinite if shapes differ or a value is NaN."""
    worst = 0.0
    if len(expected) != len(found):
        return float("inf")
    for a, b in zip(expected, found, strict=True):
        if a.shape != b.shape:
            return float("inf")
        if a.numel() == 0:
            continue
        a, b = a.double(), b.double()
        scale = float(a.abs().max()) or 1.0
        error = float((a - b).abs().max()) / scale
        if error != error:
            return float("inf")
        worst = max(worst, error)
    return worst


class _Unwritten:
    """A ledger for a pass that is not written down: ties are known already."""

    def __init__(self, labels: dict[int, tuple[Tensor, Label]], stays: np.ndarray) -> None:
        self._labels = labels
        self._stays = stays
        self._weights = {key: tensor for key, (tensor, _) in labels.items()}

    def label(self, tensor: Tensor) -> Label:
        found = self._labels.get(id(tensor))
        return blank(tensor.dim()) if found is None else found[1]

    def is_weight(self, tensor: Tensor) -> bool:
        return id(tensor) in self._weights

    def note_weights(self, op: Op) -> None:
        tensors = op.tensors
        if tensors and all(self.is_weight(tensor) for tensor in tensors):
            self._weights.update({id(out): out for out in op.outputs})

    def tie(self, first: Ids, second: Ids) -> None: ...

    def freeze(self, ids: Ids, reason: str) -> None: ...

    def new_ids(self, count: int) -> Ids:
        return np.full(count, -1)

    def is_loose(self, ids: Ids) -> bool:
        return bool((ids < 0).all())

    def produce(self, ids: Ids) -> None: ...

    def consume(self, ids: Ids) -> None: ...

    def mix(self, ids: Ids) -> bool:
        return not self._stays[ids].all()

    def cost(self, coefficient: int, factors: tuple[Ids, ...]) -> None: ...

    def resize(self, path: str, attribute: str, sizes: tuple[Ids | int, ...]) -> None: ...


def _on_kept(
    op: Op,
    ledger: _Unwritten,
    stays: np.ndarray,
    out_labels: Sequence[Label],
    numbers: Iterator[float] | None,
) -> list[Tensor]:
    """Compute one operator on kept channels, and put the results in their places."""

    def narrow(value: Any) -> Any:
        if isinstance(value, Tensor):
            return _pick(value, ledger.label(value), stays)
        return next(numbers) if numbers is not None and is_number(op.func, value) else value

    args, kwargs = tree_map(narrow, (list(op.args), dict(op.kwargs)))
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


def _place(result: Tensor, out: Tensor, label: Label, stays: np.ndarray) -> Tensor:
    if result.shape == out.shape:
        return result
    places = [
        torch.arange(size) if ids is None else torch.as_tensor(np.flatnonzero(stays[ids]))
        for size, ids in zip(out.shape, label, strict=True)
    ]
    full = torch.zeros_like(out)
    full[torch.meshgrid(*(place.to(out.device) for place in places), indexing="ij")] = result
    return full
