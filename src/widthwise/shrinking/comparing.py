"""Compare networks on inputs, module by module: masked and narrow, rewritten and reference.

The masked network is the full one with the weights that read removed channels set to zero, so
whatever those channels hold reaches nobody. Where results depend on which channels exist by more
than weights (a layer norm, a mean over channels, queries times keys), no mask of weights does that;
there the full network computes these operators on kept channels only, and the proof says so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.graph import ChannelGraph
from widthwise.network.copying import copy_module, named_tensors
from widthwise.network.inputs import Inputs
from widthwise.shrinking.differences import TOLERANCE, Differences, bounds, differences
from widthwise.shrinking.side_by_side import Outputs, run_masked, run_narrow
from widthwise.shrinking.waking import woken


@dataclass(frozen=True)
class Agreement:
    """How well two networks agree."""

    error: float
    """Largest difference of any module's outputs, relative to their largest value."""
    dtype: torch.dtype
    """Precision it was computed in: float64 where rounding in float32 hid the agreement."""
    compared: tuple[str, ...]
    """What was compared, in order of execution: modules by path, the network itself as an empty
    path, and decisions such as a sort by operator in backticks."""
    woken: tuple[str, ...] = ()
    """Parameters that are next to zero and had other values in both networks; see `woken`."""


def compare_cut(
    model: nn.Module, small: nn.Module, graph: ChannelGraph, kept: np.ndarray, inputs: Inputs
) -> Agreement:
    """Compare the masked network with the narrow one, module by module.

    The outputs of every leaf module are compared on kept channels, and those of the network, each
    relative to its own size: a signal that fades or a head that starts at zero hides nothing. So is
    what decisions are made from, such as scores that boxes are sorted by; both networks then take
    the same decision, which rounding might turn. Both run in evaluation mode on copies; neither is
    changed. Parameters that are next to zero get values, the same in both. Networks so deep that
    float32 rounding exceeds the tolerance are compared again in float64.

    Args:
        model: The full network.
        small: The narrow network.
        graph: The trace of the full network.
        kept: Which units stay. Shape ``[units]``, bool.
        inputs: What both are run on; see `telling`.

    Returns:
        How well they agree.

    Raises:
        ProofError: If they differ; names the first module whose output does.
        TraceError: If the full network does not run on these inputs.
    """
    awake, narrow_awake = woken(model, small, graph, kept)
    for dtype in (torch.float32, torch.float64):
        given = _given(inputs, model, dtype)
        notes = run_narrow(copy_module(small, _to(dtype, narrow_awake)), given, dtype)
        found = Differences(notes.outputs)
        masked = _masked(model, graph, kept, _to(dtype, awake))
        run_masked(masked, given, dtype, graph, kept, notes, found)
        where, error = found.of_all()
        if notes.failure is not None:
            _require_running(model, given, dtype)
        if error <= TOLERANCE:
            return Agreement(error, dtype, tuple(found.names), tuple(awake))
    found.require_finite()
    raise errors.proof_failed(where, error, TOLERANCE, notes.failure)


def compare_rewrite(
    reference: nn.Module, rewritten: nn.Module, inputs: Inputs, name: str
) -> Agreement:
    """Compare a rewritten network with the one that it must equal.

    What both have under the same path is compared, and the outputs of the networks, in the way of
    `compare_cut`.

    Args:
        reference: The network to equal; not changed.
        rewritten: The rewritten network; not changed.
        inputs: What both are run on.
        name: Of the rewrite, for the error.

    Returns:
        How well they agree.

    Raises:
        ProofError: If they differ; names the first module whose output does.
        TraceError: If the reference does not run on these inputs.
    """
    for dtype in (torch.float32, torch.float64):
        given = _given(inputs, reference, dtype)
        notes = [
            run_narrow(copy_module(each, _to(dtype)), given, dtype)
            for each in (reference, rewritten)
        ]
        if any(each.failure is not None for each in notes):
            _require_running(reference, given, dtype)
        found = differences(*_common(notes[0].outputs, notes[1].outputs))
        where, error = found.of_all()
        if error <= TOLERANCE:
            return Agreement(error, dtype, tuple(found.names))
    found.require_finite()
    raise errors.rewrite_failed(name, where, error, TOLERANCE)


def _common(first: Outputs, second: Outputs) -> tuple[Outputs, Outputs]:
    """Return what both networks put out equally often under the same name; decisions left out."""
    counts = [Counter(name for name, _ in each) for each in (first, second)]
    both = {name for name, count in counts[0].items() if counts[1][name] == count}
    both = {"", *(name for name in both if not name.startswith("`"))}
    return ([o for o in first if o[0] in both], [o for o in second if o[0] in both])


def _require_running(model: nn.Module, inputs: Inputs, dtype: torch.dtype) -> None:
    """Raise if the full network itself does not run: then nothing is said about the other one."""
    failure = run_narrow(copy_module(model, _to(dtype)), inputs, dtype).failure
    if failure is not None:
        raise errors.forward_failed(
            type(model).__name__, "", inputs.describe(), failure
        ) from failure


def telling(inputs: Inputs) -> tuple[Inputs, bool]:
    """Return inputs that a proof says something on: the example itself, unless it is constant.

    Args:
        inputs: The user's example; not changed.

    Returns:
        The inputs, and whether some of them are noise. Where all numbers of a tensor are equal, as
        those of ``torch.zeros`` are, noise takes their place: of mean 0 and deviation 1 for zeros,
        else around that number and of its sign; and where there are none, on the meta device.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    drawn = False

    def values(tensor: Tensor) -> Tensor:
        nonlocal drawn
        if tensor.is_complex():
            return torch.view_as_complex(values(torch.view_as_real(tensor)))
        if not tensor.is_floating_point():
            return torch.zeros_like(tensor, device="cpu") if tensor.is_meta else tensor
        constant = 0.0
        if not tensor.is_meta and tensor.numel():
            least, most = bounds(tensor)
            if least != most:
                return tensor.detach()
            constant = least
        drawn = True
        draw = torch.rand if constant else torch.randn
        noise = draw(tensor.shape, generator=generator, device="cpu")
        return ((noise + 0.5) * constant if constant else noise).to(tensor.dtype)

    return inputs.map(values), drawn


def _given(inputs: Inputs, model: nn.Module, dtype: torch.dtype) -> Inputs:
    device = next((tensor.device for _, tensor in named_tensors(model)), torch.device("cpu"))
    return inputs.map(lambda tensor: _cast(tensor, dtype).to(device))


def _to(
    dtype: torch.dtype, values: Mapping[str, Tensor] = MappingProxyType({})
) -> Callable[[str, Tensor], Tensor]:
    return lambda name, tensor: _cast(values.get(name, tensor), dtype)


def _cast(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    if tensor.is_complex():
        dtype = dtype.to_complex()
    is_real = tensor.is_floating_point() or tensor.is_complex()
    return tensor.detach().to(dtype) if is_real else tensor.detach()


def _masked(
    model: nn.Module,
    graph: ChannelGraph,
    kept: np.ndarray,
    cast: Callable[[str, Tensor], Tensor],
) -> nn.Module:
    """Copy the network with the consumers of removed channels zeroed."""

    def change(name: str, tensor: Tensor) -> Tensor:
        new = cast(name, tensor)
        for dim in graph.consumers.get(name, ()):
            units = graph.slots[name][dim]
            assert units is not None
            removed = np.flatnonzero(~kept[units])
            if len(removed):
                new = new.index_fill(dim, torch.as_tensor(removed, device=new.device), 0)
        return new

    return copy_module(model, change)
