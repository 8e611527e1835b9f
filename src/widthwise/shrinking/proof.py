"""The proof: the masked network and the narrow network agree.

The masked network is the full one with the weights that read removed channels set to zero, so
whatever those channels hold reaches nobody. Where results depend on which channels exist by more
than weights (a layer norm, a mean over channels, queries times keys), no mask of weights does that;
there the full network computes these operators on kept channels only, and the proof says so.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import torch
from torch import Tensor, nn

from widthwise import errors
from widthwise.graph import ChannelGraph
from widthwise.network.copying import copy_module, named_tensors
from widthwise.network.inputs import Inputs
from widthwise.shrinking.side_by_side import Outputs, run_masked, run_narrow

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
    relative to its own size: a signal that fades or a head that starts at zero hides nothing. So is
    what decisions are made from, such as scores that boxes are sorted by; both networks then take
    the same decision, which rounding might turn. Both run in evaluation mode on copies; neither is
    changed. Networks so deep that float32 rounding exceeds the tolerance are compared again in
    float64.

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
        notes = run_narrow(copy_module(small, _to(dtype)), inputs)
        found = notes.outputs
        expected = run_masked(_masked(model, graph, kept, dtype), inputs, graph, kept, notes)
        where, error = _compare(expected, found)
        if error <= TOLERANCE:
            return Proof(error, dtype, graph.mixes)
    for name, outputs in expected:
        # What decisions are made from may be infinite: padding is.
        if not name.startswith("`") and not all(
            bool(output.isfinite().all()) for output in outputs
        ):
            raise errors.nothing_to_prove(name or "the network's output")
    raise errors.proof_failed(where, error, TOLERANCE)


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


def _compare(expected: Outputs, found: Outputs) -> tuple[str, float]:
    """Return the first module that differs, or else the one that differs most, and by how much."""
    worst = ("", 0.0)
    for (name, wide), (other, narrow) in zip_longest(expected, found, fillvalue=("", [])):
        error = _difference(wide, narrow) if name == other else float("inf")
        if error > TOLERANCE:
            return name or "the network's output", error
        worst = max(worst, (name, error), key=lambda item: item[1])
    return worst


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
        if not a.is_floating_point():
            a, b = a.double(), b.double()
        scale = max(map(abs, _bounds(a)))
        if scale == float("inf"):
            # Such as the padding of a max pool.
            finite = ~a.isinf()
            if not torch.equal(a[~finite], b[~finite]):
                return scale
            a, b = a[finite], b[finite]
            scale = max(map(abs, _bounds(a))) if a.numel() else 1.0
        error = max(map(abs, _bounds(a - b))) / (scale or 1.0) if a.numel() else 0.0
        if error != error:
            return float("inf")
        worst = max(worst, error)
    return worst


def _bounds(tensor: Tensor) -> tuple[float, float]:
    least, most = torch.aminmax(tensor)
    return float(least), float(most)
