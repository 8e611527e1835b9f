"""Where a cut cannot be proven, `shrink` names the fewest axes that stand in the way."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.errors import ProofError

IMAGE = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Liar(nn.Module):
    """Six layers; those that are named compute something else once they are narrow."""

    def __init__(self, *lying: int) -> None:
        super().__init__()
        self.lying = lying
        sizes = [3, *[12] * 6]
        self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairwise(sizes))
        self.head = nn.Conv2d(12, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        for number, layer in enumerate(self.layers):
            x = layer(x).relu()
            if number in self.lying:
                x = x + (x.shape[1] < 12)
        return self.head(x)


@pytest.mark.parametrize("lying", [(2,), (5,), (0, 3)])
def test_the_axes_that_lie_are_named(lying: tuple[int, ...]) -> None:
    """They, and no others; without them the plan is proven."""
    model = Liar(*lying).eval()
    graph = ww.trace(model, IMAGE)
    named = ", ".join(f'"layers.{number}"' for number in lying)
    with pytest.raises(ProofError, match=r"exclude=\[" + named + r"\]"):
        ww.shrink(model, ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5)))
    exclude = [f"layers.{number}" for number in lying]
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), exclude=exclude)
    ww.shrink(model, plan)


def test_nothing_is_offered_where_nothing_helps() -> None:
    """One axis alone is no choice, and a network that computes NaN is none of the cut's doing."""
    one = nn.Sequential(Liar(0).layers[0], nn.Conv2d(12, 2, 1)).eval()
    with torch.no_grad():
        one[1].bias.fill_(float("nan"))
    plan = ww.plan(ww.trace(one, IMAGE), score=ww.scores.L1(), budget=ww.Macs(0.5))
    with pytest.raises(ProofError, match="NaN") as caught:
        ww.shrink(one, plan)
    assert "Tried" not in str(caught.value)
    model = Liar(2).eval()
    with torch.no_grad():
        model.head.bias.fill_(float("nan"))
    plan = ww.plan(ww.trace(model, IMAGE), score=ww.scores.L1(), budget=ww.Macs(0.5))
    with pytest.raises(ProofError) as caught:
        ww.shrink(model, plan)
    assert "Tried" not in str(caught.value)
