"""One forward pass as a graph that holds for any batch size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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


def capture(network: nn.Module, example_inputs: Any) -> Captured:
    """Capture the forward pass with `torch.export`.

    Args:
        network: In any mode and on any device; not changed.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs. If all tensors
            share their first dimension, that is the batch, and its size stays free.

    Returns:
        A copy of the network, which shares memory with it where that is on the CPU, and its graph.

    Raises:
        TraceError: If the forward cannot be captured for all batch sizes at once.
    """
    copied = copy_module(network, lambda _, tensor: tensor.detach().cpu()).eval()
    # Torch takes sizes of 0 and 1 for constants.
    inputs = random_inputs(example_inputs, batch=2)
    shapes = ShapesCollection()
    if inputs.batch is not None:
        batch = Dim("batch")
        for tensor in inputs.tensors:
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
    return Captured(network=copied, program=program, inputs=inputs)


def random_inputs(example_inputs: Any, *, batch: int) -> Inputs:
    """Draw inputs like the examples: normal noise for floats, zeros for integers, on the CPU.

    Args:
        example_inputs: See `capture`.
        batch: Size of the first dimension, if that is a batch.

    Returns:
        The same ones every time.
    """
    return Inputs.from_spec(Inputs.of(example_inputs).with_batch(batch).to_spec())


@contextmanager
def quiet() -> Iterator[None]:
    """Hide what torch and ONNX say to their own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
