"""The narrowest network runs: one unit of every free axis, or the floor the trace found."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import widthwise as ww
from widthwise.search.limits import Limits
from widthwise.shrinking.proof import prove

IMAGE = torch.zeros(1, 3, 6, 6)


class Halves(nn.Module):
    """Computes with half of a width, rounded down: one channel will not do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 1)
        self.last = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        x = self.middle(x * (8 // (x.shape[1] // 2)))
        return self.last(F.relu(x))


class Quarters(nn.Module):
    """As `Halves`, with a quarter of a width."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(8, 16, 1), nn.Conv2d(16, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x * (8 // (x.shape[1] // 4)))


class Standardised(nn.Conv2d):
    """A kernel that is standardised by batch normalisation, which refuses one value (NFNet)."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.reshape(1, self.out_channels, -1)
        weight = F.batch_norm(weight, None, None, training=True)
        return F.conv2d(x, weight.reshape_as(self.weight), self.bias)


def floors(graph: ww.ChannelGraph) -> dict[str, int]:
    return {name: axis.floor for name, axis in graph.axes.items() if axis.floor > 1}


def test_a_width_that_code_halves_keeps_two() -> None:
    """The axis that the code computes with gets a floor; the other free one does not."""
    graph = ww.trace(Halves(), IMAGE)
    assert floors(graph) == {"first": 2}
    assert graph.smallest().sum() == 2 + 1 + 2 + 3
    assert "free, at least 2" in str(graph)
    assert "one unit per free axis, more on 1 that need them" in str(graph)


def test_only_the_cause_keeps_its_floor() -> None:
    """Axes that were raised along with the cause go down again: the output side needs no floor."""
    net = nn.Sequential(nn.Conv2d(3, 8, 1), Standardised(8, 12, 1), nn.Conv2d(12, 2, 1))
    graph = ww.trace(net, IMAGE)
    assert floors(graph) == {"0": 2}


@pytest.mark.parametrize(
    "factory", [Halves, lambda: nn.Sequential(Standardised(3, 8, 1), Quarters())]
)
def test_the_narrowest_plan_runs_and_is_proven(factory: type[nn.Module]) -> None:
    """A plan at the floors is cut and proven."""
    net = factory()
    graph = ww.trace(net, IMAGE)
    plan = ww.Plan.of(graph, graph.smallest())
    small = ww.shrink(net, plan, verify=False)
    assert prove(net, small, plan).error <= 1e-5


def test_a_floor_may_be_higher_than_two() -> None:
    """A quarter, rounded down, needs four."""
    graph = ww.trace(nn.Sequential(nn.Conv2d(3, 8, 1), Quarters()), IMAGE)
    assert floors(graph) == {"1.first": 4}


def test_limits_do_not_go_below_a_floor() -> None:
    """A plan by score keeps the floor, whatever `min_width` is, and alignment rounds it up."""
    net = Halves()
    graph = ww.trace(net, IMAGE)
    axis = graph.axes["first"]
    assert Limits(min_width=1).floor(axis) == 2
    assert Limits(min_width=3).floor(axis) == 3
    assert Limits(round_to=4).floor(axis) == 4
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(graph.macs(graph.smallest())))
    assert plan.widths["first"] == 2 and plan.widths["middle"] == 1


def test_networks_that_run_at_one_unit_have_no_floor() -> None:
    """The usual network is left as it is."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert floors(ww.trace(net, IMAGE)) == {}


class Squeezes(nn.Module):
    """Drops a dim that has one channel, and then adds along another one."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x).squeeze(-1).mean(-1)


def test_a_network_that_returns_another_shape_does_not_run() -> None:
    """What raises nothing, and means something else, is no narrowest network either."""
    assert floors(ww.trace(Squeezes(), torch.zeros(1, 5, 6))) == {"first": 2}
