"""What runs a network: PyTorch as it is, compiled, or onnxruntime."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError
from widthwise.network.copying import copy_module
from widthwise.network.inputs import Inputs


class Engine(Enum):
    """What runs a network."""

    eager = "eager"
    """PyTorch, operator by operator."""
    compiled = "compiled"
    """PyTorch, through `torch.compile`."""
    onnxruntime = "onnxruntime"
    """onnxruntime on the CPU, from an ONNX graph of fixed shapes."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a time depends on besides the network and the machine.

    Attributes:
        engine: What runs the network.
        batch: Inputs at once.
        threads: CPU threads.
        device: ``cpu`` or ``cuda``.
    """

    engine: Engine = Engine.eager
    batch: int = 1
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name in ("batch", "threads"):
            number = getattr(self, name)
            if not isinstance(number, int) or number < 1:
                raise ConfigError(f"`{name}` must be at least 1, got {number!r}.")
        if self.device not in ("cpu", "cuda"):
            raise ConfigError(f"`device` must be cpu or cuda, got {self.device!r}.")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ConfigError(
                "There is no GPU that PyTorch can use here.\nHint: measure on `cpu`, or install a "
                "PyTorch that was built for this GPU."
            )
        if self.device == "cuda" and self.engine is Engine.onnxruntime:
            raise ConfigError(
                "onnxruntime is measured on the CPU only.\nHint: take the engine `eager` or "
                "`compiled` for a GPU."
            )


def random_inputs(example: Inputs, batch: int) -> Inputs:
    """Draw inputs like the examples: normal noise for floats, zeros for integers, on the CPU."""
    return Inputs.from_spec(example.with_batch(batch).to_spec())


def ready(network: nn.Module, inputs: Inputs, setting: Setting) -> Callable[[], object]:
    """Make a network a callable that runs it once, in evaluation mode and without gradients.

    Args:
        network: In any mode and on any device; not changed. Where it has no values, small constants
            stand in for them.
        inputs: What to run it on, of the batch to measure.
        setting: Engine and device. Threads of PyTorch are those of the caller, see `steady`.

    Returns:
        What runs the network, and waits for its outputs.

    Raises:
        ConfigError: If the engine cannot run it, or packages are missing.
    """
    device = torch.device(setting.device)
    copied = copy_module(network, lambda _, tensor: with_values(tensor).to(device)).eval()
    if setting.engine is Engine.onnxruntime:
        return session_runner(to_onnx_bytes(copied, inputs), inputs.tensors, setting.threads)
    given = inputs.map(lambda tensor: tensor.to(device))
    if setting.engine is Engine.compiled:
        return _compiled(copied, given, setting)
    return _runner(copied if given.method == "forward" else getattr(copied, given.method), given)


def with_values(tensor: Tensor) -> Tensor:
    """Return a tensor on the CPU or where it is; one of the meta device gets constants."""
    if not tensor.is_meta:
        return tensor.detach()
    kind = torch.full if tensor.is_floating_point() else torch.zeros
    more = (0.01,) if tensor.is_floating_point() else ()
    return kind(tensor.shape, *more, dtype=tensor.dtype, device="cpu")


def _runner(run: Callable[..., Any], inputs: Inputs) -> Callable[[], object]:
    waits = any(tensor.is_cuda for tensor in inputs.tensors)

    def once() -> object:
        with torch.inference_mode():
            found = run(*inputs.args, **inputs.kwargs)
        if waits:
            torch.cuda.synchronize()
        return found

    return once


def _compiled(network: nn.Module, inputs: Inputs, setting: Setting) -> Callable[[], object]:
    # Every network and batch is one more compilation of the same code; past a limit, PyTorch would
    # run it as it is and say nothing.
    torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 256)
    run = network if inputs.method == "forward" else getattr(network, inputs.method)
    once = _runner(torch.compile(run, dynamic=False), inputs)
    try:
        with _quiet():
            once()
    # Whatever the compiler, or the one for C++ behind it, has to complain of.
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"`{type(network).__name__}` cannot be compiled: {type(error).__name__}: {line}\n"
            "Hint: torch.compile needs a C++ compiler for the CPU; measure another engine."
        ) from error
    return once


def to_onnx_bytes(network: nn.Module, inputs: Inputs) -> bytes:
    """Export a network as it is measured: for these shapes only, and unchecked.

    Args:
        network: On the CPU, in evaluation mode; not changed.
        inputs: What it is exported with.

    Returns:
        An ONNX file. To keep one, see `widthwise.export.to_onnx`.

    Raises:
        ConfigError: If packages are missing or the network cannot be exported.
    """
    require_onnx()
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                network, inputs.args, kwargs=inputs.kwargs, dynamo=True, verbose=False
            )
            assert program is not None
            return program.model_proto.SerializeToString()
    # Whatever the forward does, it does here.
    except Exception as error:
        line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"`{type(network).__name__}` cannot be exported to ONNX: {type(error).__name__}: "
            f"{line}\nHint: measure another engine."
        ) from error


def session(content: bytes | Path, count: int) -> Any:
    """Open an ONNX file in onnxruntime, on the CPU.

    Args:
        content: The file, or where it is.
        count: Threads within an operator; operators run one after the other.

    Returns:
        An `onnxruntime.InferenceSession`.

    Raises:
        ConfigError: If onnxruntime is missing or cannot run the file.
    """
    _require("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = count
    options.inter_op_num_threads = 1
    # Errors only: it warns of devices that are not there.
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # Its exceptions have no common class.
    except Exception as error:
        raise ConfigError(
            f"onnxruntime cannot open the network: {str(error).splitlines()[0]}\n"
            "Hint: check that the file is a whole ONNX file; large weights may lie in a file "
            "beside it, which is not read."
        ) from error


def session_runner(
    content: bytes | Path, inputs: Sequence[Tensor], count: int
) -> Callable[[], object]:
    """Make an ONNX file a callable that runs it once.

    Args:
        content: The file, or where it is.
        inputs: In the order of the file's own.
        count: CPU threads.

    Returns:
        What runs it.

    Raises:
        ConfigError: As for `session`; or if the file does not run on these inputs.
    """
    opened = session(content, count)
    names = [entry.name for entry in opened.get_inputs()]
    feed = {name: t.numpy() for name, t in zip(names, inputs, strict=False)}
    try:
        opened.run(None, feed)
    # See `session`.
    except Exception as error:
        shapes = ", ".join(str(list(tensor.shape)) for tensor in inputs)
        raise ConfigError(
            f"onnxruntime cannot run the network on inputs of {shapes}: "
            f"{str(error).splitlines()[0]}\nHint: give the shape that it takes with --input."
        ) from error
    return lambda: opened.run(None, feed)


def require_onnx() -> None:
    """Make sure that networks can be exported and run by onnxruntime.

    Raises:
        ConfigError: If packages are missing.
    """
    _require("onnx", "onnxscript", "onnxruntime")


def _require(*packages: str) -> None:
    missing = [f"`{name}`" for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"The engine onnxruntime needs {', '.join(missing)}, not installed here.\n"
            "Hint: `pip install 'widthwise[export]'` installs all it needs."
        )


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide what compilers and exporters say to their own developers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
