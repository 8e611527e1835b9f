"""Multiply-accumulates of a plan are those that PyTorch counts of the network made by it."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import widthwise as ww


class FoldedIntoBatch(nn.Module):
    """Treats every channel as an image of its own."""

    def __init__(self, each: nn.Module) -> None:
        super().__init__()
        self.first, self.each, self.last = nn.Conv2d(3, 16, 3), each, nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        n, c, h, w = x.shape
        return self.last(self.each(x.reshape(n * c, 1, h, w)).view(n, c, h, w))


@pytest.mark.parametrize(
    "each",
    [
        nn.Conv2d(1, 1, 3, padding=1),
        nn.ConvTranspose2d(1, 1, 3, padding=1),
        nn.Sequential(nn.Flatten(2), nn.Linear(36, 36)),
    ],
    ids=lambda each: type(each).__name__,
)
def test_channels_in_the_batch_are_counted(each: nn.Module) -> None:
    """A layer that runs once per channel costs less where there are fewer channels."""
    net, x = FoldedIntoBatch(each).eval(), torch.randn(2, 3, 8, 8)
    plan = ww.plan(ww.trace(net, x), score=ww.scores.Uniform(), budget=ww.Macs(0.6))
    assert plan.widths["first"] < 16
    small = ww.shrink(net, plan)
    with FlopCounterMode(display=False) as counted:
        small(x[:1])
    assert plan.macs() == counted.get_total_flops() // 2


class Recurrent(nn.Module):
    """An LSTM behind a linear layer; the forward may look at values first."""

    def __init__(self, *, reads: bool, **options: bool | int) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.layer = nn.LSTM(8, 10, batch_first=True, **options)
        self.last = nn.Linear(20 if options.get("bidirectional") else 10, 3)
        self.reads = reads

    def forward(self, x: Tensor) -> Tensor:
        if self.reads and x.abs().max() > 1e9:
            raise ValueError("too large")
        return self.last(self.layer(self.first(x))[0])


@pytest.mark.parametrize(
    "options", [{}, {"bias": False}, {"num_layers": 2}, {"bidirectional": True}], ids=str
)
def test_a_recurrent_layer_is_the_same_on_real_values(options: dict[str, bool | int]) -> None:
    """A CPU runs it as one operator; its cost and its axes are those of its parts."""
    found = []
    settings = torch.backends.mkldnn.enabled
    for reads in (False, True):
        torch.manual_seed(0)
        net, x = Recurrent(reads=reads, **options).eval(), torch.randn(2, 5, 6)
        graph = ww.trace(net, x)
        plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
        ww.shrink(net, plan)
        widths = sorted(
            (axis.width, axis.frozen) for axis in graph.axes.values() if not axis.frozen
        )
        found.append((graph.macs(), widths, plan.macs()))
    assert found[0] == found[1]
    assert torch.backends.mkldnn.enabled is settings


class Experts(nn.Module):
    """Each row of the input is multiplied with the matrix of its group (mixtures of experts)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 16), nn.Linear(16, 4)
        self.up = nn.Parameter(torch.randn(3, 16, 24) / 10)
        self.down = nn.Parameter(torch.randn(3, 24, 16) / 10)
        self.register_buffer("ends", torch.tensor([2, 5, 8], dtype=torch.int32))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)[0]
        inner = torch._grouped_mm(x, self.up, offs=self.ends).relu()
        return self.last(x + torch._grouped_mm(inner, self.down, offs=self.ends))


def test_products_in_groups_are_counted() -> None:
    """A row costs as much as one matrix; rows of any width are more than the operator takes."""
    net, x = Experts().bfloat16().eval(), torch.randn(1, 8, 6, dtype=torch.bfloat16)
    graph = ww.trace(net, x)
    assert graph.macs() == 8 * (6 * 16 + 2 * 16 * 24 + 16 * 4)
    for name in ("first", "up"):
        assert "multiple of 16 bytes" in str(graph.axes[name].frozen)
