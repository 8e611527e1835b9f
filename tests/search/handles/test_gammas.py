"""The scales of normalisations as a handle: what a step moves, what counts, what has none."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD

import widthwise as ww
from widthwise.errors import SearchError
from widthwise.search.handles import Gammas
from widthwise.search.limits import Limits

IMAGE = torch.zeros(1, 3, 8, 8)


class Net(nn.Module):
    """A stream of 6 that two normalisations see, a branch of 4 with one, a layer with none."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.inner, self.inner_norm = nn.Conv2d(6, 4, 3, padding=1), nn.GroupNorm(1, 4)
        self.back, self.back_norm = nn.Conv2d(4, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.bare, self.last = nn.Conv2d(6, 5, 1), nn.Conv2d(5, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.back_norm(self.back(self.inner_norm(self.inner(x)).relu()))
        return self.last(self.bare(x).relu())


def gammas(net: Net, **options) -> tuple[ww.ChannelGraph, Gammas]:
    graph = ww.trace(net, IMAGE)
    settings = {"limits": Limits(), "sparsity": 0.5, "prune_threshold": 0.1, **options}
    return graph, Gammas(graph, net, **settings)


def set_scales(net: Net) -> None:
    with torch.no_grad():
        net.norm.weight.copy_(torch.tensor([0.5, -0.3, 0.0, 0.05, 0.2, 0.0]))
        net.back_norm.weight.copy_(torch.tensor([-0.7, 0.1, 0.02, -0.01, 0.0, 0.0]))
        net.inner_norm.weight.copy_(torch.tensor([1.0, 0.02, -2.0, 0.5]))


def test_importance_is_the_largest_scale_of_a_unit() -> None:
    """Over all normalisations that see it, whatever the sign; 0 for units without."""
    net = Net()
    graph, handle = gammas(net)
    set_scales(net)
    importance = handle.importance()
    assert importance.dtype == np.float64
    expected = {"stem": [0.7, 0.3, 0.02, 0.05, 0.2, 0.0], "inner": [1.0, 0.02, 2.0, 0.5]}
    for name, scales in expected.items():
        np.testing.assert_allclose(importance[graph.axes[name].units], scales, rtol=1e-6)
    assert not importance[graph.axes["bare"].units].any()


def test_axes_without_scales_are_not_driven() -> None:
    """They stay whole in the plan, and frozen scales tell nothing either."""
    net = Net()
    net.inner_norm.weight.requires_grad_(False)
    graph, handle = gammas(net)
    driven = {name for name, axis in graph.axes.items() if handle.driven[axis.units].all()}
    assert driven == {"stem"}
    search = ww.methods.slimming(net, IMAGE, budget=ww.Macs(0.9), round_to=1)
    _, plan = search.finish()
    assert plan.widths["stem"] < 6
    assert (plan.widths["inner"], plan.widths["bare"]) == (4, 5)


def test_a_step_is_a_soft_threshold_at_the_rate_of_each_scale() -> None:
    """Every scale moves by ``sparsity`` times the rate of its own group, and stops at zero."""
    net = Net()
    _, handle = gammas(net)
    set_scales(net)
    fast = [net.inner_norm.weight]
    others = [p for p in net.parameters() if p is not net.inner_norm.weight]
    before = [net.norm.weight.detach().clone(), net.inner_norm.weight.detach().clone()]
    rest = {name: p.detach().clone() for name, p in net.named_parameters() if p.dim() > 1}
    handle.step(SGD([{"params": others}, {"params": fast, "lr": 0.3}], lr=0.02))
    for scale, old, distance in zip(
        (net.norm.weight, net.inner_norm.weight), before, (0.01, 0.15), strict=True
    ):
        torch.testing.assert_close(scale, old.sign() * (old.abs() - distance).clamp_min(0))
    assert all(torch.equal(dict(net.named_parameters())[name], p) for name, p in rest.items())


def test_an_axis_at_its_floor_and_one_outside_the_limits_are_left_alone() -> None:
    """Neither is pressed; the largest units of each axis count as alive up to its floor."""
    net = Net()
    graph, handle = gammas(net, limits=Limits(min_width=3, exclude="inner"), sparsity=1.0)
    set_scales(net)
    stem, inner = (graph.axes[name].units for name in ("stem", "inner"))
    assert handle.alive()[stem].tolist() == [True, True, False, False, True, False]
    assert handle.alive()[inner].all()
    before = [net.norm.weight.detach().clone(), net.inner_norm.weight.detach().clone()]
    handle.step(SGD(net.parameters(), lr=0.1))
    assert torch.equal(net.norm.weight, before[0])
    assert torch.equal(net.inner_norm.weight, before[1])


def test_a_network_without_scales_is_refused() -> None:
    """The error says what the method needs, and which do without."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    with pytest.raises(SearchError, match=r"no axis(?s:.*)ww\.methods\.sss"):
        ww.methods.slimming(net, IMAGE, budget=ww.Macs(0.5))
