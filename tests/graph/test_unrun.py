"""Sizes that only other methods read follow the parts that the forward splits into."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww

IMAGE = torch.randn(1, 3, 8, 8)


class Halves(nn.Module):
    """Halves its features; another method, for export, does so by a size."""

    def __init__(self) -> None:
        super().__init__()
        self.c, self.heads, self.other = 8, 8, 8
        self.first, self.last = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.first(x).chunk(2, 1)
        return self.last((left + right) * (self.heads - 7))

    def forward_split(self, x: Tensor) -> Tensor:
        left, right = self.first(x).split((self.c, self.c), 1)
        return self.last((left + right) * (self.heads - 7))


def test_a_size_that_another_method_splits_by_follows() -> None:
    """The other method computes what the forward does; numbers that the forward reads stay."""
    torch.manual_seed(0)
    net = Halves()
    graph = ww.trace(net, IMAGE)
    assert ("", "c") in graph.resized
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    assert small.first.out_channels < 16
    assert torch.equal(small.forward_split(IMAGE), small(IMAGE))
    assert plan.attributes == {"c": (small.c,)}
    assert (small.heads, small.other) == (8, 8)


@pytest.mark.parametrize("name", ["c", "heads"])
def test_the_network_is_not_watched_afterwards(name: str) -> None:
    """Attributes are watched on a copy: the class of the user's network is its own."""
    net = Halves()
    ww.trace(net, IMAGE)
    assert type(net) is Halves and getattr(net, name) == 8
