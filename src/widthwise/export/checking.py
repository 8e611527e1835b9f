"""No file is written that does not compute what the network computes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from widthwise.errors import ProofError
from widthwise.export.capture import Captured, random_inputs
from widthwise.network.inputs import Inputs
from widthwise.runs import write_file

TOLERANCE = 1e-4
"""Largest difference allowed: of the largest output, or absolute where outputs are below 1."""

_BATCHES = (1, 5)
"""Sizes that are compared; neither is the one that the network was captured with."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A file that was written, and how well it agrees with the network."""

    path: Path
    bytes: int
    largest_difference: float
    """Between outputs of file and network; see `TOLERANCE`."""
    metadata: Mapping[str, str]
    """What the file says about the network."""


def write_checked(
    content: bytes,
    path: Path,
    captured: Captured,
    *,
    run: Callable[[Inputs], Sequence[Tensor]],
    metadata: Mapping[str, str],
) -> Exported:
    """Write an exported network if it agrees with PyTorch on random inputs of two batch sizes.

    Args:
        content: The file.
        path: Where to. A file that is there is replaced, or left as it is if the check fails.
        captured: What was exported.
        run: Computes the outputs of the file, in order.
        metadata: What is in the file.

    Returns:
        What was written.

    Raises:
        ProofError: If file and network disagree. Nothing is written.
        RunError: If the file cannot be written.
    """
    sizes = [size for size in _BATCHES if captured.has_batch] or [1]
    largest = 0.0
    for size in sizes:
        example = captured.inputs.args or captured.inputs.kwargs
        inputs = random_inputs(example, batch=size, unbatched=captured.unbatched)
        with torch.inference_mode():
            expected = tree_leaves(inputs.call(captured.network))
            difference = largest_difference(expected, run(inputs))
        # Not `>`: what is not a number is no agreement.
        if not difference <= TOLERANCE:
            raise ProofError(
                f"The exported network differs from `{type(captured.network).__name__}`: largest "
                f"difference {difference:.2e} on a batch of {size}, allowed {TOLERANCE:.0e}. "
                f"Nothing was written to `{path}`.\n"
                "Why: every exported file is run on random inputs before it is kept.\n"
                "Hint: check that the network is deterministic and puts out finite values; the "
                "other format may serve, and the difference is worth a report."
            )
        largest = max(largest, difference)
    write_file(path, content)
    return Exported(
        path=path, bytes=len(content), largest_difference=largest, metadata=dict(metadata)
    )


def largest_difference(expected: Sequence[Tensor], got: Sequence[Tensor]) -> float:
    """Compare outputs.

    Args:
        expected: Outputs of the network.
        got: Outputs of the file, in the same order.

    Returns:
        The largest absolute difference, divided by the largest magnitude of its output where that
        is above 1. Infinite if number or shapes differ, NaN if values are.

    Example:
        >>> largest_difference([torch.tensor([200.0, 0.0])], [torch.tensor([200.0, 1.0])])
        0.005
    """
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in got]:
        return math.inf
    worst = torch.zeros((), dtype=torch.float64)
    for one, other in zip(expected, got, strict=True):
        if one.numel():
            scale = one.double().abs().max().clamp(min=1)
            # Unlike Python's, torch's maximum hands NaN on.
            worst = torch.maximum(worst, (one.double() - other.double()).abs().max() / scale)
    return worst.item()
