"""Layers on colours, at the ends of networks that read or make images, keep them all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww


class Shifted(nn.Module):
    """Works between two layers on colours, such as EDSR's fixed shifts by the mean."""

    def __init__(self, *, colours: int = 3, inside: int = 8, trained: bool = False) -> None:
        super().__init__()
        self.subtract, self.add = nn.Conv2d(colours, colours, 1), nn.Conv2d(colours, colours, 1)
        self.subtract.requires_grad_(trained)
        self.add.requires_grad_(trained)
        self.head, self.tail = nn.Conv2d(colours, inside, 3), nn.Conv2d(inside, colours, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.add(self.tail(self.head(self.subtract(x * 255)).relu())) / 255


@pytest.mark.parametrize("trained", [False, True])
@pytest.mark.parametrize("colours", [2, 3, 4])
def test_no_colour_is_cut(colours: int, trained: bool) -> None:
    """Whether the layer is trained or not: there is nothing to save in it."""
    net = Shifted(colours=colours, trained=trained)
    graph = ww.trace(net, torch.rand(1, colours, 12, 12))
    assert "than the image" in str(graph.axes["subtract"].frozen)
    assert "than the image that `add` makes" in str(graph.axes["tail"].frozen)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.3))
    assert plan.widths["tail"] == colours and plan.widths["head"] < 8
    ww.shrink(net, plan)


def test_wider_layers_at_the_ends_are_free() -> None:
    """What has more channels than the image is narrowed as ever, and so is what makes no image."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.Conv2d(4, 3, 3))
    axes = ww.trace(net, torch.rand(1, 3, 12, 12)).axes
    assert axes["0"].frozen is None and axes["1"].frozen is None
    many = Shifted(colours=6)
    axes = ww.trace(many, torch.rand(1, 6, 12, 12)).axes
    assert axes["subtract"].frozen is None and axes["tail"].frozen is None
