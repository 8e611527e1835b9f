"""Weights whose ``data`` the forward sets: what is read and written past every operator."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import widthwise as ww
from zoo_basic import Head, conv_bn


class Merged(nn.Module):
    """A convolution that the forward makes of two others, as SPAN's `Conv3XC` does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv_bn(3, 6), Head(7)
        self.wide, self.thin = nn.Conv2d(6, 10, 1), nn.Conv2d(10, 7, 1)
        self.merged = nn.Conv2d(6, 7, 1)

    def forward(self, x: Tensor) -> Tensor:
        first, second = self.wide.weight.data[..., 0, 0], self.thin.weight.data[..., 0, 0]
        self.merged.weight.data = (second @ first)[..., None, None].contiguous()
        self.merged.bias.data = second @ self.wide.bias.data + self.thin.bias.data
        return self.head(F.relu(self.merged(F.relu(self.stem(x)))))


def test_they_follow_what_they_are_computed_of() -> None:
    """Both layers and the one made of them are narrowed alike, proven, and run as they should."""
    torch.manual_seed(0)
    model, image = Merged().eval(), torch.randn(1, 3, 8, 8)
    expected = model(image)
    graph = ww.trace(model, image)
    assert {name: axis.width for name, axis in graph.axes.items() if not axis.frozen} == {
        "wide": 6,
        "thin": 7,
    }
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(model, plan)
    shape = (plan.widths["thin"], plan.widths["wide"], 1, 1)
    assert small.merged.weight.shape == shape and shape < (7, 6)
    assert small(image).shape == expected.shape
    assert small.merged.weight.shape == shape
    assert torch.equal(model(image), expected)


def test_a_wrong_one_is_found() -> None:
    """The proof compares what the layer makes with the weights that it is given."""
    torch.manual_seed(0)
    model, image = Merged().eval(), torch.randn(1, 3, 8, 8)
    plan = ww.plan(ww.trace(model, image), score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(model, plan)
    with torch.no_grad():
        small.wide.weight.mul_(1.01)
    with pytest.raises(ww.errors.ProofError, match="merged"):
        ww.prove(model, small, plan)
