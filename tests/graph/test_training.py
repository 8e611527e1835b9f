"""What only training runs is followed, also where it has no parameters of its own."""

from __future__ import annotations

from collections.abc import Callable
from random import random

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import widthwise as ww
from widthwise.graph.dry_run import study
from widthwise.graph.recording.passes import record

IMAGE = torch.zeros(1, 3, 8, 8)


class Trains(nn.Module):
    """Does something with its features where it trains."""

    def __init__(self, extra: Callable[[nn.Module, Tensor], Tensor | None]) -> None:
        super().__init__()
        self.first, self.norm, self.last = (
            nn.Conv2d(3, 20, 3),
            nn.BatchNorm2d(20),
            nn.Conv2d(20, 7, 3),
        )
        self.register_buffer("centre", torch.zeros(20))
        self.register_buffer("gain", torch.ones(20, 1, 1))
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = self.norm(self.first(x)) * 1
        if self.training:
            x = self.extra(self, x)
            if isinstance(x, tuple):
                return self.last(x[0]), x[1]
        return self.last(x)


def keep_centre(net: nn.Module, x: Tensor) -> Tensor:
    net.centre.mul_(0.9).add_(x.detach().mean((0, 2, 3)), alpha=0.1)
    return x


@pytest.mark.parametrize(
    ("extra", "frozen"),
    [
        (lambda net, x: x.roll(1, 1), True),
        (lambda net, x: (x, x), True),
        (keep_centre, False),
        (lambda net, x: x * net.gain, False),
        (lambda net, x: F.dropout(x, 0.5), False),
    ],
    ids=["roll", "returns features", "keeps a centre", "scales", "drops out"],
)
def test_narrow_networks_train(extra, frozen: bool) -> None:
    """Channels that training rolls or returns stay; what it keeps of others goes with them."""
    net = Trains(extra)
    graph = ww.trace(net, IMAGE)
    assert (graph.axes["first"].frozen is not None) == frozen
    if frozen:
        return
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    assert plan.widths["first"] < 20
    small = ww.shrink(net, plan)
    small.train()(torch.zeros(2, 3, 8, 8))


class Attends(nn.Module):
    """Mixes places, and drops whole images where it trains (stochastic depth)."""

    def __init__(self, *, rolls: bool = False) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 8), nn.Linear(8, 3)
        self.rolls = rolls

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        # Of one image this is a view, of two a copy.
        mixed = (x.transpose(0, 1).reshape(-1, 8) * 2).view(x.shape[1], -1, 8).transpose(0, 1)
        if self.training:
            mixed = mixed * x.new_empty(x.shape[0], 1, 1).bernoulli_(0.9)
            if self.rolls:
                mixed = mixed.roll(1, 1)
        return self.last(x + mixed)


@pytest.mark.parametrize("rolls", [False, True])
def test_training_that_drops_and_no_more_costs_no_second_pass(
    rolls: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every run of a trace would run it, too; what a batch of two copies is nothing more."""
    recorded: list[int] = []
    monkeypatch.setattr(
        study, "record", lambda passes, *more: recorded.append(len(passes)) or record(passes, *more)
    )
    ww.trace(Attends(rolls=rolls), torch.zeros(1, 5, 4))
    assert max(recorded) == (2 if rolls else 1)


class LayerDrop(nn.Module):
    """Skips layers by chance while it trains, as speech models do, and has a head for training."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Conv2d(8, 8, 1) for _ in range(8))
        self.first, self.last, self.aux = (nn.Conv2d(a, b, 1) for a, b in ((3, 8), (8, 2), (8, 2)))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        for layer in self.layers:
            if not self.training or (torch.rand(()).item() + random()) / 2 > 0.3:
                x = x + layer(x)
        return self.last(x) + self.aux(x) if self.training else self.last(x)


@pytest.mark.parametrize("seed", range(3))
def test_layers_skipped_by_chance_are_skipped_in_each_run(seed: int) -> None:
    """The training passes of a trace take one way, whatever the state of the generators."""
    torch.manual_seed(seed)
    graph = ww.trace(LayerDrop(), IMAGE)
    assert {axis.frozen for axis in graph.axes.values()} == {None, "network output"}
    assert graph.axes["first"].frozen is None


class Forks(nn.Module):
    """Has a layer that a call with default arguments does not reach."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.usual, self.other = (
            nn.Conv2d(3, 8, 1),
            nn.Conv2d(8, 2, 1),
            nn.Conv2d(8, 2, 1),
        )

    def forward(self, x: Tensor, other: bool = False) -> Tensor:
        x = self.first(x)
        return self.other(x) if other else self.usual(x)


def test_modules_that_no_call_reaches_are_named() -> None:
    """The notes and the report name what stays as it is; a network that is reached has no note."""
    graph = ww.trace(Forks(), IMAGE)
    assert len(graph.notes) == 1 and "`other`" in graph.notes[0] and "`usual`" not in graph.notes[0]
    assert "Note: the example inputs do not reach `other`" in str(graph)
    assert ww.trace(nn.Conv2d(3, 8, 1), IMAGE).notes == ()
