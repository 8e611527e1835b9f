"""Multiples of channels that a machine likes, by a meter whose kernels work on blocks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from meters import Computed
from widthwise.cost.layers import layers_of
from widthwise.errors import ConfigError
from widthwise.latency.calls import LayerCall
from widthwise.latency.engines import random_inputs
from widthwise.latency.meter import InRounds, Machine
from widthwise.search.limits import Limits

IMAGE = torch.zeros(1, 3, 12, 12)


@dataclass
class Blocks(Computed):
    """A machine that takes as long for a part of a block of channels as for all of it."""

    block: int = 16

    def _layer(self, call: LayerCall) -> float:
        padded = (self.padded(width) for width in (call.outer, call.inner, call.groups))
        return super()._layer(call.at(*padded))

    def padded(self, width: int) -> int:
        return width if width == 1 else math.ceil(width / self.block) * self.block


class Net(nn.Module):
    """Axes of 128, 64 (with a depth-wise layer), 40 and 24 channels, and 64 in units of 4."""

    def __init__(self) -> None:
        super().__init__()
        self.wide = nn.Conv2d(3, 128, 3, padding=1)
        self.middle = nn.Conv2d(128, 64, 1)
        self.depth = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        self.narrow = nn.Conv2d(64, 40, 1)
        self.slim = nn.Conv2d(40, 24, 1)
        self.shuffled = nn.Sequential(nn.Conv2d(24, 64, 1), nn.PixelShuffle(2))
        self.thin = nn.Conv2d(16, 12, 1)
        self.last = nn.Conv2d(12, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.depth(self.middle(self.wide(x).relu()).relu()).relu()
        x = self.shuffled(self.slim(self.narrow(x).relu()).relu())
        return self.last(self.thin(x).relu())


@pytest.fixture(scope="module")
def net() -> Net:
    """The network above."""
    torch.manual_seed(0)
    return Net().eval()


@pytest.fixture(scope="module")
def graph(net: Net) -> ww.ChannelGraph:
    """Its graph."""
    graph = ww.trace(net, IMAGE)
    widths = {axis.name: axis.width * axis.unit_size for axis in graph.axes.values()}
    assert widths == {
        "wide": 128, "middle": 64, "narrow": 40, "slim": 24, "shuffled.0": 64, "thin": 12, "last": 4
    }  # fmt: skip
    return graph


def latency(block: int) -> ww.Latency:
    return ww.Latency(keep=1.0, meter=Blocks(block=block))


@pytest.mark.parametrize(
    ("block", "steps"),
    [
        (32, {"wide": 32, "middle": 32, "narrow": 4, "slim": 2}),
        (16, {"wide": 16, "middle": 16, "narrow": 16, "slim": 2}),
        (8, {"wide": 8, "middle": 8, "narrow": 8, "slim": 8}),
        (4, {"wide": 8, "middle": 8, "narrow": 4, "slim": 4}),
        (1, {"wide": 8, "middle": 8, "narrow": 4, "slim": 2}),
    ],
)
def test_a_step_is_a_block(graph: ww.ChannelGraph, block: int, steps: dict[str, int]) -> None:
    """Not where an axis is narrower than two blocks, and takes as long at all of its widths."""
    found = latency(block).multiples(graph)
    assert {name: found[name] for name in steps} == steps
    assert "thin" not in found and "last" not in found


def test_noise_of_half_a_percent_asks_for_no_coarser_step(graph: ww.ChannelGraph) -> None:
    """Choice of widths is not given up for what no user would feel."""

    @dataclass
    class Noisy(Computed):
        def layers(self, calls: list[LayerCall]) -> list[float]:  # type: ignore[override]
            return [self._layer(call) * (1 + 0.005 * (-1) ** (call.outer // 8)) for call in calls]

    found = ww.Latency(keep=1.0, meter=Noisy()).multiples(graph)
    assert (found["wide"], found["middle"]) == (8, 8)


def test_rounds_outlast_what_disturbs_a_measurement() -> None:
    """Of a layer that something else slowed down now and then, the least time is told."""

    @dataclass
    class Disturbed(Computed):
        calls: int = 0

        def layers(self, calls: Sequence[LayerCall]) -> list[float]:
            self.calls += 1
            slow = np.random.default_rng(self.calls).random(len(calls)) < 0.4
            return [
                self._layer(call) * (1.3 if each else 1.0)
                for call, each in zip(calls, slow, strict=True)
            ]

    net = Net().eval()
    layers = layers_of(ww.trace(net, IMAGE), random_inputs(ww.trace(net, IMAGE).inputs, 1))
    calls = [layer.call for layer in layers]
    quiet, disturbed = Computed(), Disturbed()
    assert disturbed.layers(calls) != quiet.layers(calls)
    assert InRounds(Disturbed(), 12).layers(calls) == quiet.layers(calls)


def test_this_machine_is_measured_in_rounds_once(
    graph: ww.ChannelGraph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four rounds of all layers, and none the next time; nor are they taken for times of tables."""
    monkeypatch.setenv("WIDTHWISE_CACHE", str(tmp_path))
    rounds: list[int] = []

    def layers(self: Machine, calls: Sequence[LayerCall]) -> list[float]:
        rounds.append(len(calls))
        return Blocks(block=16).layers(calls)

    monkeypatch.setattr(Machine, "layers", layers)
    budget = ww.Latency(keep=1.0, threads=1)
    assert budget.multiples(graph) == latency(16).multiples(graph)
    assert len(rounds) == 4 and len(set(rounds)) == 1
    assert budget.multiples(graph) and len(rounds) == 4
    budget.cost(graph, graph.everything)
    assert len(rounds) == 5


def test_layers_that_are_alike_are_timed_once() -> None:
    """Five widths of each side of a layer, of which the ends of a window are shared by no other."""
    net = nn.Sequential(*(nn.Conv2d(64, 64, 1) for _ in range(6)))
    meter = Computed()
    found = ww.Latency(keep=1.0, meter=meter).multiples(ww.trace(net, torch.zeros(1, 64, 4, 4)))
    assert set(found) == {"0", "1", "2", "3", "4"}
    assert len(meter.asked) == len({call.key for call in meter.asked}) == 9


def test_measured_steps_align_a_plan(graph: ww.ChannelGraph) -> None:
    """The latency budget says on what, and stands beside one of MACs."""
    budget = [ww.Macs(0.5), latency(16)]
    plan = ww.plan(graph, score=ww.scores.L1(), budget=budget, round_to="measured")
    same = ww.plan(
        graph, score=ww.scores.L1(), budget=budget, round_to=latency(16).multiples(graph)
    )
    assert plan.widths == same.widths
    narrowed = {name: w for name, w in plan.widths.items() if w < graph.axes[name].width}
    assert {"wide", "middle", "narrow"} <= set(narrowed)
    assert all(narrowed[name] % 16 == 0 for name in ("wide", "middle", "narrow"))


def test_processes_do_not_measure_for_themselves(
    graph: ww.ChannelGraph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They would decide for different widths."""
    monkeypatch.setenv("WORLD_SIZE", "2")
    for asked in (
        lambda: Limits(round_to="measured").on(graph, [ww.Latency(keep=0.5)]),
        lambda: ww.plan(graph, score=ww.scores.L1(), budget=ww.Latency(keep=0.5, batch=3)),
    ):
        with pytest.raises(ConfigError, match="one of several processes"):
            asked()
    # A meter that says the same everywhere may be asked everywhere.
    assert Limits(round_to="measured").on(graph, [latency(16)]).round_to["wide"] == 16


def test_measured_steps_need_a_latency_budget(graph: ww.ChannelGraph) -> None:
    """Nothing else says what the network will run on."""
    with pytest.raises(ConfigError, match=r"ww\.Latency\(keep=1\.0"):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), round_to="measured")


def test_steps_by_name_leave_the_default_to_others(graph: ww.ChannelGraph) -> None:
    """A name or a glob; what matches twice is aligned to both."""
    limits = Limits(round_to={"w*": 32, "wide": 24, "slim": 5})
    steps = {name: limits.step(graph.axes[name]) for name in ("wide", "middle", "slim", "thin")}
    assert steps == {"wide": 96, "middle": 16, "slim": 5, "thin": 1}
    with pytest.raises(ConfigError, match="round_to"):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), round_to={"wise": 8})
    for wrong in (0, None, "measured", 1.5):
        with pytest.raises(ConfigError, match="round_to"):
            Limits(round_to={"wide": wrong})  # type: ignore[dict-item]
