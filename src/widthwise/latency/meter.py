"""What tells milliseconds: this machine, or something of your own that stands for another one."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import nn

from widthwise.latency.calls import LayerCall
from widthwise.latency.engines import (
    Engine,
    Setting,
    ready,
    require_onnx,
    session_runner,
)
from widthwise.latency.steady import steady
from widthwise.latency.store import Store
from widthwise.latency.timing import interleaved
from widthwise.network.inputs import Inputs

_AT_ONCE = 8
"""Layers that take turns: all of a network's would not fit into memory."""
_SECONDS = 1.0
_GRAIN = 1e-5
"""Seconds that a clock may be wrong by: the shortest block of runs takes hundreds of them."""
_LEAST = 0.05
"""Of what was measured, where nearly all of it is the call."""


class Meter(Protocol):
    """Tells how many milliseconds layers and networks take."""

    def layers(self, calls: Sequence[LayerCall]) -> list[float]:
        """Return the milliseconds of each call of a layer."""
        ...

    def networks(self, networks: Sequence[nn.Module], inputs: Inputs) -> list[float]:
        """Return the milliseconds of each network, measured in turns."""
        ...


class Machine:
    """Measures on this machine.

    It tells lower quartiles: what runs beside a measurement only ever makes it longer. With one
    thread on the CPU, it counts the time of that thread, so that other programs take none of it.

    Args:
        setting: Engine, threads and device.
    """

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    def layers(self, calls: Sequence[LayerCall]) -> list[float]:
        """Measure layers, some at a time."""
        of_some = _in_onnxruntime if self._setting.engine is Engine.onnxruntime else _in_pytorch
        with steady(self._setting.threads):
            return [
                milliseconds
                for start in range(0, len(calls), _AT_ONCE)
                for milliseconds in of_some(calls[start : start + _AT_ONCE], self._setting)
            ]

    def networks(self, networks: Sequence[nn.Module], inputs: Inputs) -> list[float]:
        """Measure whole networks, all in turns."""
        with steady(self._setting.threads):
            runs = [ready(each, inputs, self._setting) for each in networks]
            found = interleaved(runs, seconds=_SECONDS, clock=_clock(self._setting))
        return [times.low for times in found]


class InRounds:
    """A meter that measures layers several times over, and tells the least.

    What disturbs a measurement lasts longer than a layer; a round takes many.

    Args:
        meter: What measures.
        rounds: How often.
    """

    def __init__(self, meter: Meter, rounds: int) -> None:
        self._meter, self._rounds = meter, rounds

    def layers(self, calls: Sequence[LayerCall]) -> list[float]:
        """Measure all layers in each round."""
        found = [self._meter.layers(calls) for _ in range(self._rounds)]
        return [min(times) for times in zip(*found, strict=True)]

    def networks(self, networks: Sequence[nn.Module], inputs: Inputs) -> list[float]:
        """Measure whole networks once."""
        return self._meter.networks(networks, inputs)


class Remembering:
    """A meter that measures no layer twice, and keeps what it has measured in a file.

    Args:
        meter: What measures.
        store: Where it is kept.
    """

    def __init__(self, meter: Meter, store: Store) -> None:
        self._meter, self._store = meter, store

    def layers(self, calls: Sequence[LayerCall]) -> list[float]:
        """Look layers up, and measure those that are not known."""
        known = self._store.times
        new = list({each.key: each for each in calls if each.key not in known}.values())
        if new:
            times = self._meter.layers(new)
            self._store.add({each.key: t for each, t in zip(new, times, strict=True)})
        return [self._store.times[each.key] for each in calls]

    def networks(self, networks: Sequence[nn.Module], inputs: Inputs) -> list[float]:
        """Measure whole networks anew: the machine may be busier than it was."""
        return self._meter.networks(networks, inputs)


def _clock(setting: Setting) -> Callable[[], float]:
    alone = setting.threads == 1 and setting.device == "cpu"
    # The clock of a thread is a coarse one on some systems.
    exact = time.get_clock_info("thread_time").resolution < _GRAIN
    return time.thread_time if alone and exact else time.perf_counter


def _in_pytorch(calls: Sequence[LayerCall], setting: Setting) -> list[float]:
    runs = [call.ready(setting) for call in calls]
    found = interleaved(runs, seconds=0, clock=_clock(setting))
    return [times.low for times in found]


def _in_onnxruntime(calls: Sequence[LayerCall], setting: Setting) -> list[float]:
    """Measure layers, less what it takes to call the runtime: a network is one call."""
    require_onnx()
    from widthwise.latency.onnx_layers import as_file, next_to_nothing

    runs = [session_runner(next_to_nothing(), [torch.zeros(1)], setting.threads)]
    for call in calls:
        given = call.tensors("cpu")
        runs.append(session_runner(as_file(call, *given), given[:1], setting.threads))
    clock = _clock(setting)
    nothing, *found = (times.low for times in interleaved(runs, seconds=0, clock=clock))
    return [max(each - nothing, _LEAST * each) for each in found]
