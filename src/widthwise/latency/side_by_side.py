"""Several networks, measured side by side in every setting that is asked for."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from widthwise.errors import ConfigError
from widthwise.latency.engines import (
    Engine,
    Setting,
    random_inputs,
    ready,
    session_runner,
    to_onnx_bytes,
)
from widthwise.latency.memory import peak_bytes
from widthwise.latency.steady import steady
from widthwise.latency.timing import Times, interleaved
from widthwise.network.copying import copy_module
from widthwise.network.inputs import Inputs


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network to measure.

    Attributes:
        name: What it is called in the results.
        network: The network, or where its ONNX file is.
        example: What it is called with; any batch.
    """

    name: str
    network: nn.Module | Path
    example: Inputs


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of one network in one setting.

    Attributes:
        name: That of the subject.
        setting: Engine, batch, threads and device.
        times: Of one run of the whole batch; None where the engine cannot run the network.
        peak_bytes: See `memory`; None where it was not measured.
        why_not: Why there are no times.
    """

    name: str
    setting: Setting
    times: Times | None
    peak_bytes: int | None = None
    why_not: str | None = None

    @property
    def throughput(self) -> float | None:
        """Inputs per second."""
        return None if self.times is None else 1e3 * self.setting.batch / self.times.median


def side_by_side(
    subjects: Sequence[Subject],
    settings: Sequence[Setting],
    *,
    seconds: float = 2.0,
    memory: bool = True,
    progress: Callable[[str], None] | None = None,
) -> list[Measured]:
    """Measure networks in turns, one setting after the other.

    Args:
        subjects: The networks.
        settings: Each is measured for every network.
        seconds: To spend on the clock for each of them.
        memory: Measure peak memory too.
        progress: Called with what is being done.

    Returns:
        One record per setting and subject, in order.
    """
    found = []
    for setting in settings:
        with steady(setting.threads), tempfile.TemporaryDirectory() as folder:
            found += _in_setting(subjects, setting, Path(folder), seconds, memory, progress)
    return found


def _in_setting(
    subjects: Sequence[Subject],
    setting: Setting,
    folder: Path,
    seconds: float,
    memory: bool,
    progress: Callable[[str], None] | None,
) -> list[Measured]:
    def says(what: str) -> None:
        if progress is not None:
            progress(f"{setting.engine.value}, batch {setting.batch}: {what}")

    runs: dict[int, Callable[[], object]] = {}
    peaks: dict[int, int | None] = {}
    why_not: dict[int, str] = {}
    for number, subject in enumerate(subjects):
        says(f"prepare {subject.name}")
        inputs = random_inputs(subject.example, setting.batch)
        try:
            network = _in_form(subject.network, inputs, setting, folder / f"{number}.onnx")
            if isinstance(network, Path):
                runs[number] = session_runner(network, inputs.tensors, setting.threads)
            else:
                runs[number] = ready(network, inputs, setting)
        except ConfigError as error:
            why_not[number] = str(error)
            continue
        if memory:
            says(f"memory of {subject.name}")
            peaks[number] = peak_bytes(network, inputs, setting)
    says("time")
    times = dict(zip(runs, interleaved(list(runs.values()), seconds=seconds), strict=True))
    return [
        Measured(
            name=subject.name,
            setting=setting,
            times=times.get(number),
            peak_bytes=peaks.get(number),
            why_not=why_not.get(number),
        )
        for number, subject in enumerate(subjects)
    ]


def _in_form(
    network: nn.Module | Path, inputs: Inputs, setting: Setting, path: Path
) -> nn.Module | Path:
    """Return a network as the engine takes it: an ONNX file, written to a path, or a module."""
    if setting.engine is not Engine.onnxruntime:
        if isinstance(network, Path):
            raise ConfigError("An ONNX file runs in onnxruntime only.")
        return network
    if isinstance(network, Path):
        return network
    alone = copy_module(network, lambda _, tensor: tensor.detach().cpu()).eval()
    path.write_bytes(to_onnx_bytes(alone, inputs))
    return path
