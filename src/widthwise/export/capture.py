"""One forward pass as a graph that holds for any batch size."""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, ShapesCollection

from widthwise.errors import TraceError
from widthwise.network.copying import copy_module
from widthwise.network.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class Captured:
    """A network in evaluation mode on the CPU, and its forward pass as a graph."""

    network: nn.Module
    program: ExportedProgram
    inputs: Inputs
    """What the forward was captured with."""
    unbatched: frozenset[str]
    """Names of keyword inputs whose first size is not the batch."""

    @property
    def has_batch(self) -> bool:
        """Whether there is a batch whose size is free."""
        return _batched(self.inputs, self.unbatched).batch is not None


def capture(
    network: nn.Module, example_inputs: Any, *, unbatched: Collection[str] = ()
) -> Captured:
    """Capture the forward pass with `torch.export`.

    Args:
        network: In any mode and on any device; not changed.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs. If all tensors
            share their first dimension, that is the batch, and its size stays free.
        unbatched: Names of keyword inputs that do not take part in this: their sizes are fixed.

    Returns:
        A copy of the network, which shares memory with it where that is on the CPU, and its graph.

    Raises:
        TraceError: If the forward cannot be captured for all batch sizes at once.
    """
    copied = copy_module(network, lambda _, tensor: tensor.detach().cpu()).eval()
    # Torch takes sizes of 0 and 1 for constants.
    inputs = random_inputs(example_inputs, batch=2, unbatched=unbatched)
    shapes = ShapesCollection()
    batched = _batched(inputs, unbatched)
    if batched.batch is not None:
        batch = Dim("batch")
        for tensor in batched.tensors:
            shapes[tensor] = {0: batch}
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                copied, inputs.args, inputs.kwargs, dynamic_shapes=shapes, strict=False
            )
    # Whatever the forward does, it does here; torch has no common class for its own complaints.
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        raise TraceError(
            f"`{type(network).__name__}` cannot be exported: {type(error).__name__}:\n    "
            + "\n    ".join(lines[:6])
            + "\nWhy: an exported file holds one graph of the forward pass, for any batch size.\n"
            "Hint: take the batch size from the input (`x.shape[0]`, `flatten(1)`), not from a "
            "constant, and let no value of a tensor decide what is computed."
        ) from error
    return Captured(network=copied, program=program, inputs=inputs, unbatched=frozenset(unbatched))


def random_inputs(example_inputs: Any, *, batch: int, unbatched: Collection[str] = ()) -> Inputs:
    """Draw inputs like the examples: normal noise for floats, zeros for integers, on the CPU.

    Args:
        example_inputs: See `capture`.
        batch: Size of the first dimension, if that is a batch.
        unbatched: See `capture`.

    Returns:
        The same ones every time.
    """
    inputs = Inputs.of(example_inputs)
    sized = _batched(inputs, unbatched).with_batch(batch)
    # In the order in which they were given: files have their inputs in that order.
    kwargs = {name: sized.kwargs.get(name, value) for name, value in inputs.kwargs.items()}
    return Inputs.from_spec(replace(sized, kwargs=kwargs).to_spec())


def _batched(inputs: Inputs, unbatched: Collection[str]) -> Inputs:
    kwargs = {name: value for name, value in inputs.kwargs.items() if name not in unbatched}
    return replace(inputs, kwargs=kwargs)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch and ONNX say to their own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
