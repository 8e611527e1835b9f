"""ONNX files, for the runtimes that are not PyTorch."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError, TraceError
from widthwise.export.capture import capture, quiet
from widthwise.export.checking import Exported, write_checked
from widthwise.network.inputs import Inputs

_NEEDS = ("onnx", "onnxscript", "onnxruntime")

_LARGEST = 2**31 - 2**20
"""Bytes of weights that fit into one file: the format cannot hold 2 GiB."""


def to_onnx(
    network: nn.Module,
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    metadata: Mapping[str, str] | None = None,
    unbatched: Collection[str] = (),
) -> Exported:
    """Write a network as one ONNX file, in evaluation mode and for any batch size.

    The file is run by onnxruntime before it is kept.

    Args:
        network: In any mode and on any device; not changed.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs. Inputs of the
            file are named as the arguments of ``forward``.
        path: The file; replaced if it exists.
        metadata: Texts to put into the file.
        unbatched: Names of keyword inputs whose first size is not the batch, but always that of the
            example.

    Returns:
        What was written, and how well it agrees.

    Raises:
        ConfigError: If packages are missing, or the network is too large for one file.
        TraceError: If the forward cannot be captured, or has no counterpart in ONNX.
        ProofError: If the file does not compute what the network computes; it is not written.
        RunError: If the file cannot be written.
    """
    _check_packages()
    _check_size(network)
    captured = capture(network, example_inputs, unbatched=unbatched)
    with quiet():
        try:
            program = torch.onnx.export(captured.program, dynamo=True, verbose=False)
        # Torch has a class for its own complaints, and lets through those of others.
        except Exception as error:
            raise TraceError(
                f"`{type(network).__name__}` cannot be written as ONNX: {_reason(error)}\n"
                "Why: every operator of the forward pass needs one of ONNX, and numbers such as "
                "the groups of a convolution must not depend on the size of the batch.\n"
                "Hint: the format `torch_export` knows all operators of PyTorch."
            ) from error
        assert program is not None
        program.model.metadata_props.update(metadata or {})
        model = program.model_proto
    _tidy(model)
    content = model.SerializeToString()
    return write_checked(
        content, Path(path), captured, run=_runner(content), metadata=metadata or {}
    )


def _reason(error: BaseException) -> str:
    """The first line of what was raised first."""
    while error.__cause__ is not None:
        error = error.__cause__
    said = (str(error).strip() or type(error).__name__).splitlines()[0]
    return f"{type(error).__name__}: {said}"


def _tidy(model: Any) -> None:
    """Name the batch, and drop notes about where in whose source files each node comes from."""
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    for entry in [*model.graph.node, *values, *model.graph.initializer]:
        del entry.metadata_props[:]
    for value in values:
        for dim in value.type.tensor_type.shape.dim:
            # There is one symbol: nothing but the batch is free.
            if dim.dim_param:
                dim.dim_param = "batch"


def _runner(content: bytes) -> Callable[[Inputs], list[Tensor]]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # Errors only: it warns of devices that are not there.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def run(inputs: Inputs) -> list[Tensor]:
        feed = {name: tensor.numpy() for name, tensor in zip(names, inputs.tensors, strict=True)}
        return [torch.from_numpy(output) for output in session.run(None, feed)]

    return run


def _check_packages() -> None:
    missing = [f"`{name}`" for name in _NEEDS if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Export to ONNX needs {', '.join(missing)}, not installed here.\n"
            "Hint: `pip install 'widthwise[export]'` installs all it needs; the format "
            "`torch_export` needs nothing more."
        )


def _check_size(network: nn.Module) -> None:
    size = sum(t.numel() * t.element_size() for t in network.state_dict().values())
    if size > _LARGEST:
        raise ConfigError(
            f"`{type(network).__name__}` has {size / 2**30:.1f} GiB of weights.\n"
            "Why: one ONNX file holds less than 2 GiB.\n"
            "Hint: the format `torch_export` has no such limit."
        )
