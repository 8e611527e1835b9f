"""Numbers of channels that are used as values: renumbered, they would mean something else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww

IMAGE = torch.randn(2, 3, 8, 8)

USED: dict[str, Callable[[Tensor], Tensor]] = {
    "argmax": lambda x: x.argmax(1),
    "argmin": lambda x: x.argmin(1, keepdim=True),
    "argmax of all": lambda x: x.argmax(),
    "indices of max": lambda x: x.max(1).indices,
    "indices of min": lambda x: x.min(1).indices * 2,
    "indices of median": lambda x: x.median(1)[1].float().mean(),
    "sort": lambda x: x.sort(1).indices,
    "argsort": lambda x: x.argsort(1)[:, 0],
    "topk": lambda x: x.topk(2, dim=1).indices,
}
UNUSED: dict[str, Callable[[Tensor], Tensor]] = {
    "max": lambda x: x.max(1).values,
    "median": lambda x: x.median(1).values,
    "amin": lambda x: x.amin(1),
    "argmax over space": lambda x: x.flatten(2).argmax(2).float().mean(1),
}


class Net(nn.Module):
    """Reduces what its second convolution gives."""

    def __init__(self, reduced: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.body, self.head, self.reduced = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 8, 1), reduced

    def forward(self, x: Tensor) -> Tensor:
        return self.reduced(self.head(self.body(x).relu()))


@pytest.mark.parametrize("reduced", USED.values(), ids=USED)
def test_channels_whose_numbers_are_used_stay(reduced: Callable[[Tensor], Tensor]) -> None:
    """A network that returns classes keeps them, and says why."""
    net = Net(reduced)
    graph = ww.trace(net, IMAGE)
    assert graph.axes["head"].frozen is not None
    assert graph.axes["body"].frozen is None
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    assert ww.prove(net, ww.shrink(net, plan), plan).error < 1e-5


@pytest.mark.parametrize("reduced", UNUSED.values(), ids=UNUSED)
def test_values_alone_freeze_nothing(reduced: Callable[[Tensor], Tensor]) -> None:
    """An index that nobody reads, or one into space, is no number of a channel."""
    net = Net(reduced)
    assert ww.trace(net, IMAGE).axes["head"].frozen is None


def test_the_reason_names_the_operator() -> None:
    """People read why a layer stays."""
    net = Net(USED["argmax"])
    reason = ww.trace(net, IMAGE).axes["head"].frozen
    assert reason is not None and "argmax" in reason and "used as values" in reason
