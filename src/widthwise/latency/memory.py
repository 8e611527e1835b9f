"""Peak memory of a network: in a process of its own on the CPU, as PyTorch counts it on a GPU.

On the CPU it is the largest resident memory of a fresh process that loads the network and runs it,
less what the process held before it loaded it: weights, activations, and what the engine itself
needs for them. Run as a module, this file is that process.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from widthwise.latency.engines import Engine, Setting, ready, session_runner
from widthwise.latency.steady import steady
from widthwise.network.copying import named_tensors
from widthwise.network.inputs import Inputs

_RUNS = 3
_LONGEST = 600
"""Seconds that a process may take."""


def peak_bytes(network: nn.Module | Path, inputs: Inputs, setting: Setting) -> int | None:
    """Measure the memory that a network needs to run.

    Args:
        network: A network, not changed, or where its ONNX file is.
        inputs: On the CPU, of the batch to measure.
        setting: Engine, threads and device.

    Returns:
        Bytes. None where it cannot be said: compiling takes more memory than running, some networks
        cannot be sent to another process, and Windows does not tell.
    """
    if setting.device == "cuda":
        assert isinstance(network, nn.Module)
        return _on_gpu(network, inputs, setting)
    if setting.engine is Engine.compiled or not _knows_peaks():
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            torch.save(inputs.map(_contiguous), Path(folder) / "inputs.pt")
            if isinstance(network, Path):
                shutil.copy(network, Path(folder) / "network.onnx")
            else:
                torch.save(network, Path(folder) / "network.pt")
        # Networks with functions inside of functions are no pickles; pickle has many errors.
        except Exception:
            return None
        return _in_process(Path(folder), setting)


def _contiguous(tensor: Tensor) -> Tensor:
    return tensor.contiguous()


def _in_process(folder: Path, setting: Setting) -> int | None:
    # The network's own code is found where this process has found it.
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    try:
        done = subprocess.run(
            [sys.executable, "-m", __name__, str(folder), str(setting.threads)],
            env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(setting.threads)},
            capture_output=True,
            text=True,
            timeout=_LONGEST,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return int(done.stdout.split()[-1])


def _on_gpu(network: nn.Module, inputs: Inputs, setting: Setting) -> int:
    run = ready(network, inputs, setting)
    run()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    run()
    weights = {id(t): t.numel() * t.element_size() for _, t in named_tensors(network)}
    return torch.cuda.max_memory_allocated() - before + sum(weights.values())


def _measured(folder: Path, count: int) -> int:
    """Load and run what lies in a folder, and return how many bytes that has taken."""
    setting = Setting(threads=count)
    with steady(count):
        # What the engine sets up once, it sets up for any network.
        ready(nn.Conv2d(8, 8, 3), Inputs.of(torch.zeros(1, 8, 8, 8)), setting)()
        # Files that the parent has just written.
        inputs = torch.load(folder / "inputs.pt", weights_only=False)
        load = _opener(folder, inputs, count)
        before = _resident()
        run = load()
        for _ in range(_RUNS):
            run()
    return max(_peak() - before, 0)


def _opener(folder: Path, inputs: Inputs, count: int) -> Callable[[], Callable[[], object]]:
    if (folder / "network.onnx").exists():
        import onnxruntime  # noqa: F401 (its own memory is not the network's)

        content = folder / "network.onnx"
        return lambda: session_runner(content, inputs.tensors, count)
    file = folder / "network.pt"
    return lambda: ready(torch.load(file, weights_only=False), inputs, Setting(threads=count))


def _knows_peaks() -> bool:
    return sys.platform != "win32"


def _resident() -> int:
    """Return the bytes this process holds; forget, where the system can, that it has held more."""
    status = Path("/proc/self/status")
    if not status.exists():
        return _peak()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return _peak()
    return _field(status, "VmRSS")


def _peak() -> int:
    status = Path("/proc/self/status")
    if status.exists():
        # Not `ru_maxrss`: it begins with what the parent process held.
        return _field(status, "VmHWM")
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _field(status: Path, name: str) -> int:
    lines = status.read_text(encoding="utf-8").splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def _main(arguments: Sequence[str]) -> None:
    folder, count = arguments
    sys.stdout.write(f"{_measured(Path(folder), int(count))}\n")


if __name__ == "__main__":
    _main(sys.argv[1:])
