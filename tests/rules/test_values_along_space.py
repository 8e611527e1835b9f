"""Operators that read along space, or change a shape in place: channels pass through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import widthwise as ww


class Gated(nn.Module):
    """Scales every channel by what a function makes of its values."""

    def __init__(self, gate: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 1)
        self.gate = gate

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x * self.gate(x))


def strongest(x: Tensor) -> Tensor:
    """The first values by size, picked as code of detectors does."""
    flat = x.flatten(2)
    places = flat.mean(1).topk(4).indices
    picked = flat.gather(2, places[:, None].expand(-1, flat.shape[1], -1))
    return picked.mean(2)[..., None, None]


GATES = {
    "squeeze_": lambda x: x.mean((2, 3), keepdim=True).squeeze_(3)[..., None],
    "unsqueeze_": lambda x: x.mean((2, 3)).unsqueeze_(2).unsqueeze_(3),
    "transpose_": lambda x: x.flatten(2).transpose_(1, 2).softmax(1).transpose_(1, 2).view_as(x),
    "quantile": lambda x: x.flatten(2).quantile(0.5, dim=2)[..., None, None],
    "median": lambda x: x.flatten(2).median(dim=2).values[..., None, None],
    "take_along_dim": lambda x: x.take_along_dim(x.argmax(3, keepdim=True), 3),
    "gather": strongest,
    "bytes": lambda x: x.view(torch.int16).view(torch.float32),
}


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_channels_pass(gate: Callable[[Tensor], Tensor]) -> None:
    """The channels are free, and any plan is proven."""
    torch.manual_seed(0)
    net, x = Gated(gate).eval(), torch.randn(2, 3, 4, 4)
    graph = ww.trace(net, x)
    axis = graph.axes["first"]
    assert axis.frozen is None and axis.width == 8
    for seed in range(3):
        keep = graph.everything.copy()
        keep[axis.units] = np.random.default_rng(seed).random(8) < 0.5
        keep[axis.units.start] = True
        ww.shrink(net, ww.Plan.of(graph, keep))


def test_what_is_gathered_over_channels_stays() -> None:
    """Indices of channels are values: none may go, and the call is named."""
    net = Gated(lambda x: x.gather(1, x.flatten(2).argmax(2)[..., None, None] % x.shape[1]))
    axis = ww.trace(net, torch.randn(2, 3, 4, 4)).axes["first"]
    assert "gather" in str(axis.frozen)
