"""PyTorch's own exported programs, which load without the code of the network."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from widthwise.export.capture import capture, quiet
from widthwise.export.checking import Exported, write_checked
from widthwise.network.inputs import Inputs

METADATA = "widthwise.json"
"""Name of the extra file inside an exported program that holds the metadata."""


def to_torch_export(
    network: nn.Module,
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    unbatched: Collection[str] = (),
) -> Exported:
    """Write a network as a file for `torch.export.load`, in evaluation mode, for any batch size.

    The file is loaded and run before it is kept.

    Args:
        network: In any mode and on any device; not changed.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs.
        path: The file; replaced if it exists.
        metadata: Texts to put into the file, as the extra file ``widthwise.json``.
        unbatched: Names of keyword inputs whose first size is not the batch, but always that of the
            example.

    Returns:
        What was written, and how well it agrees.

    Raises:
        TraceError: If the forward cannot be captured.
        ProofError: If the file does not compute what the network computes; it is not written.
        RunError: If the file cannot be written.
    """
    captured = capture(network, example_inputs, unbatched=unbatched)
    buffer = io.BytesIO()
    extra = {METADATA: json.dumps(dict(metadata or {}), indent=2)}
    with quiet():
        torch.export.save(captured.program, buffer, extra_files=extra)
        content = buffer.getvalue()
        loaded = torch.export.load(io.BytesIO(content)).module()

    def run(inputs: Inputs) -> list[Tensor]:
        return tree_leaves(inputs.call(loaded))

    return write_checked(content, Path(path), captured, run=run, metadata=metadata or {})
