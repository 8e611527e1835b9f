"""A search works with any handle: this one knows no latents."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

import widthwise as ww
from widthwise.errors import SearchError
from widthwise.search.handles import Ground
from widthwise.search.limits import Limits
from widthwise.search.search import Search

IMAGE = torch.zeros(1, 3, 8, 8)


class Scaled(nn.Module):
    """A weight times a gate per output channel."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.gate = nn.Parameter(torch.linspace(1.0, 2.0, count))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.gate.reshape(-1, 1, 1, 1)


class Gates:
    """A gate per channel of one layer, closed a little more by every step."""

    def __init__(self, graph: ww.ChannelGraph, model: nn.Sequential) -> None:
        self.model, self.graph = model, graph
        self.layer = model[0]
        self.units = graph.axes["0"].units
        self.driven = np.zeros(graph.unit_count, bool)
        self.driven[self.units] = True
        self.scaled = Scaled(self.layer.out_channels)
        self.calls: list[str] = []

    def attach(self) -> None:
        self.calls.append("attach")
        self.weight = self.layer.weight
        parametrize.register_parametrization(self.layer, "weight", self.scaled)

    def detach(self) -> None:
        self.calls.append("detach")
        parametrize.remove_parametrizations(self.layer, "weight", leave_parametrized=False)
        self.layer._parameters["weight"] = self.weight
        for name in ("weight", "bias"):
            self.layer._parameters[name] = self.layer._parameters.pop(name)

    @torch.no_grad()
    def write(self) -> None:
        self.calls.append("write")
        self.weight.copy_(self.layer.weight)
        self.scaled.gate.fill_(1.0)

    def parameters(self) -> Iterable[nn.Parameter]:
        return self.scaled.parameters()

    @torch.no_grad()
    def step(self, optimizer: torch.optim.Optimizer) -> None:
        self.calls.append("step")
        self.scaled.gate.sub_(0.25).clamp_min_(0)

    def importance(self) -> np.ndarray:
        self.calls.append("importance")
        scores = np.zeros(self.graph.unit_count)
        scores[self.units] = self.layer.weight.detach().abs().mean((1, 2, 3)).numpy()
        return scores

    def alive(self) -> np.ndarray:
        alive = self.graph.everything.copy()
        alive[self.units] = self.scaled.gate.detach().numpy() > 0
        alive[self.units.stop - 1] = True
        return alive

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> Ground | None:
        return None


def searched(**options) -> tuple[nn.Sequential, Gates, Search]:
    """A network, gates on its first layer, and the search; the last filters are the largest."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 6, 3), nn.Conv2d(6, 2, 3))
    with torch.no_grad():
        net[0].weight.fill_(1.0)
    graph = ww.trace(net, IMAGE)
    gates = Gates(graph, net)
    settings = {"budgets": [ww.Macs(0.5)], "limits": Limits(), "method": "gates", **options}
    return net, gates, Search(graph, handle=gates, **settings)


def test_a_handle_without_latents_is_searched_and_cut() -> None:
    """Steps, checks and the end ask the handle, and axes it does not drive stay whole."""
    net, gates, search = searched(check_every=1, stop_limit=0.0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    while not search.done:
        search.step(optimizer)
    assert search.handle is gates
    assert search.history[-1]["cost_fraction"] == search.cost_alive()["macs"] / search.graph.macs()
    assert [check["step"] for check in search.history] == list(range(1, len(search.history) + 1))
    small, plan = search.finish()
    assert plan.widths["2"] == 6
    assert plan.macs() <= 0.5 * plan.full_macs
    assert (plan.method, plan.seed) == ("gates", None)
    assert small[0].out_channels == plan.widths["0"]


def test_finish_writes_before_it_asks_for_the_importance() -> None:
    """Importance is read from what the network goes on with, in the network's own parameters."""
    _, gates, search = searched()
    _, plan = search.finish()
    assert gates.calls == ["attach", "write", "detach", "importance"]
    # The gates grow along the axis, and only the written weights say so.
    kept = plan.kept["0"].tolist()
    assert kept == list(range(8 - len(kept), 8))


def test_importance_that_fails_leaves_the_search_attached() -> None:
    """An error in the middle of the end is not the end."""
    net, gates, search = searched()

    def fail() -> np.ndarray:
        raise SearchError("on purpose")

    original, gates.importance = gates.importance, fail  # type: ignore[method-assign]
    with pytest.raises(SearchError, match="on purpose"):
        search.finish()
    gates.importance = original  # type: ignore[method-assign]
    assert parametrize.is_parametrized(net[0])
    search.finish()
    assert not parametrize.is_parametrized(net[0])


def test_budgets_refer_to_the_users_own_network() -> None:
    """With the graph of another network, fractions, checks and the error are relative to that."""
    own = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Conv2d(6, 2, 3))
    full = ww.trace(own, IMAGE)
    net, _, search = searched(full=full, budgets=[ww.Macs(1.0)], check_every=1)
    search.step(torch.optim.SGD(net.parameters(), lr=0.1))
    check = search.history[-1]
    assert check["cost_fraction"] == search.graph.macs() / full.macs() > 1
    assert check["excess"] == pytest.approx(check["cost_fraction"] - 1)
    assert not search.done
    _, plan = search.finish()
    assert plan.macs() <= full.macs() == plan.full_macs
    assert plan.widths["0"] == 4
    with pytest.raises(ww.errors.BudgetError, match=f"of {full.macs():,}"):
        searched(full=full, budgets=[ww.Macs(0.2)])
