"""Recurrent layers of every kind, whichever dim is time, however few steps are traced."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import widthwise as ww

BOTH = {"bidirectional": True, "num_layers": 2}
LAYERS = [
    *((kind, each) for kind in (nn.LSTM, nn.GRU, nn.RNN) for each in ({}, BOTH, {"bias": False})),
    (nn.LSTM, {"proj_size": 3}),
    (nn.LSTM, {"proj_size": 3, **BOTH}),
]


class Sequence(nn.Module):
    """A recurrent layer between two linear ones."""

    def __init__(self, kind: type[nn.RNNBase], **options: Any) -> None:
        super().__init__()
        self.first, self.layer = nn.Linear(4, 5), kind(5, 6, **options)
        made = options.get("proj_size", 6) * (2 if options.get("bidirectional") else 1)
        self.last = nn.Linear(made, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.layer(self.first(x))[0])


# PyTorch warns that oneDNN has no projections.
@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize(("kind", "options"), LAYERS, ids=str)
def test_any_plan_is_proven(
    kind: type[nn.RNNBase], options: dict[str, Any], batch_first: bool
) -> None:
    """What a layer puts out is what it reads in the next step, also where one step is traced."""
    torch.manual_seed(0)
    net = Sequence(kind, batch_first=batch_first, **options).eval()
    graph = ww.trace(net, torch.randn(5, 2, 4))
    free = {axis.width for axis in graph.axes.values() if axis.frozen is None}
    assert free == {5, options.get("proj_size", 6)}
    for seed in range(3):
        random, keep = np.random.default_rng(seed), graph.everything.copy()
        for axis in graph.axes.values():
            if axis.frozen is None:
                keep[axis.units] = random.random(axis.width) < 0.6
                keep[axis.units.start] = True
        ww.shrink(net, ww.Plan.of(graph, keep))


def test_hidden_units_that_are_projected_stay() -> None:
    """With as many of them as projected ones PyTorch refuses the layer."""
    axes = ww.trace(Sequence(nn.LSTM, proj_size=3), torch.randn(5, 2, 4)).axes
    assert "`layer` projects" in str(axes["layer.weight_hh_l0"].frozen)
