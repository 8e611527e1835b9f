"""Networks that draw random numbers in evaluation mode are proven: both are given the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import ProofError

WAYS: dict[str, Callable[[Tensor], Tensor]] = {
    "randn_like": lambda x: x + torch.randn_like(x),
    "randn": lambda x: x + torch.randn(x.shape),
    "one per image": lambda x: x * torch.rand(x.shape[0], 1, 1, 1),
    "one per channel": lambda x: x * torch.rand(1, x.shape[1], 1, 1),
    "empty": lambda x: x + torch.empty_like(x).uniform_(),
    "dropout": lambda x: functional.dropout(x, 0.3, True),
    "dropout2d": lambda x: functional.dropout2d(x, 0.3, True),
    "alpha_dropout": lambda x: functional.alpha_dropout(x, 0.3, True),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()),
    "gumbel": lambda x: functional.gumbel_softmax(x.flatten(2), dim=2).view_as(x),
}


class Random(nn.Module):
    """Draws between two layers."""

    def __init__(self, way: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        self.way = way

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.way(self.first(x)))


@pytest.mark.parametrize("way", WAYS)
def test_any_plan_is_proven(way: str) -> None:
    """Channels that stay get the numbers that they get in the narrow network."""
    torch.manual_seed(0)
    net = Random(WAYS[way]).eval()
    graph = ww.trace(net, torch.randn(2, 3, 4, 4))
    axis = graph.axes["first"]
    assert axis.frozen is None
    for seed in range(3):
        keep = graph.everything.copy()
        keep[axis.units] = np.random.default_rng(seed).random(8) < 0.5
        keep[axis.units.start] = True
        ww.shrink(net, ww.Plan.of(graph, keep))


@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_weight_before_a_draw_is_seen(way: str) -> None:
    """What is given says nothing of what the layer before computes, so a wrong cut is found."""
    torch.manual_seed(0)
    net = Random(WAYS[way]).eval()
    plan = ww.plan(
        ww.trace(net, torch.randn(2, 3, 4, 4)), score=ww.scores.L1(), budget=ww.Macs(0.6)
    )
    small = ww.shrink(net, plan)
    with torch.no_grad():
        small.first.weight[0] += 1
    with pytest.raises(ProofError):
        ww.prove(net, small, plan)


def test_the_random_state_is_left_alone() -> None:
    """A proof draws from a generator of its own."""
    net, x = Random(WAYS["dropout"]).eval(), torch.randn(2, 3, 4, 4)
    state = torch.get_rng_state()
    ww.shrink(net, ww.plan(ww.trace(net, x), score=ww.scores.Uniform(), budget=ww.Macs(0.6)))
    assert torch.equal(torch.get_rng_state(), state)
