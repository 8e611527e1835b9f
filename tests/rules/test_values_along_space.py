"""Operators that work along space, or change a shape in place: channels pass through them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchvision
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


def assert_any_plan_is_proven(net: nn.Module) -> None:
    """Trace, and prove some plans that narrow the first layer."""
    net, x = net.eval(), torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    graph = ww.trace(net, x)
    axis = graph.axes["first"]
    assert axis.frozen is None and axis.width == 8
    for seed in range(3):
        keep = graph.everything.copy()
        keep[axis.units] = np.random.default_rng(seed).random(8) < 0.5
        keep[axis.units.start] = True
        ww.shrink(net, ww.Plan.of(graph, keep))


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


CHANGES = {
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "tril": lambda x: x.tril() + x.triu(1).mul(2),
    "sort": lambda x: x.take_along_dim(x.argsort(3), 3),
    "scatter": lambda x: x.scatter(3, x.argmax(3, keepdim=True), 0.0),
    "scatter_add": lambda x: x.scatter_add(3, x.argmax(3, keepdim=True), x[..., :1].contiguous()),
    "cummax": lambda x: x.cummax(2)[0],
    "kthvalue": lambda x: x - x.kthvalue(3, dim=3, keepdim=True)[0],
    "last kthvalue": lambda x: x - x.kthvalue(3)[0][..., None],
    "mode": lambda x: x - x.mode(3, keepdim=True)[0],
    "nanmean": lambda x: x - x.nanmean((2, 3), keepdim=True),
    "count_nonzero": lambda x: x * x.relu().count_nonzero((2, 3))[..., None, None],
    "index_add": lambda x: x.index_add(3, torch.tensor([0]), x[..., :1]),
    "index_fill": lambda x: x.index_fill(2, torch.tensor([1]), 3.0),
    "slice_scatter": lambda x: x.slice_scatter(x[..., :2].exp(), 3, 0, 2),
    "select_scatter": lambda x: x.select_scatter(x[..., 0].exp(), 3, 1),
    "diagonal": lambda x: x * torch.diagonal(x, dim1=2, dim2=3)[..., None],
    "complex": lambda x: torch.complex(x, x.exp()).abs(),
    "polar": lambda x: torch.polar(x.exp(), x).imag,
    "fft": lambda x: torch.fft.ifft2(torch.fft.fft2(x) * 2).real,
    "view_as_complex": lambda x: torch.view_as_complex(torch.stack([x, x.exp()], -1)).angle(),
    "matrix_exp": torch.matrix_exp,
    "inv": lambda x: torch.linalg.inv(x + 9 * torch.eye(4)),
    "cdist": lambda x: torch.cdist(x, x.exp()),
    "rrelu": lambda x: nn.functional.rrelu(x),
}


class Changed(Gated):
    """Changes the values between two layers."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.gate(self.first(x)))


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_channels_pass_what_changes_them(change: Callable[[Tensor], Tensor]) -> None:
    """The channels are free, and any plan is proven."""
    assert_any_plan_is_proven(Changed(change))


@pytest.mark.parametrize("gate", GATES.values(), ids=GATES)
def test_channels_pass(gate: Callable[[Tensor], Tensor]) -> None:
    """The same for what scales them."""
    assert_any_plan_is_proven(Gated(gate))


class Deformed(Gated):
    """A deformable convolution reads where a layer says."""

    def __init__(self, *, masked: bool = False) -> None:
        super().__init__(nn.Identity())
        self.offsets = nn.Conv2d(3, 18, 3, padding=1)
        self.masks = nn.Conv2d(3, 9, 1) if masked else None
        self.deform = torchvision.ops.DeformConv2d(8, 6, 3, padding=1)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        masks = None if self.masks is None else self.masks(x).sigmoid()
        return self.last(self.deform(self.first(x), self.offsets(x), masks))


@pytest.mark.parametrize("masked", [False, True])
def test_a_deformable_convolution_is_one(masked: bool) -> None:
    """It is narrowed and counted as a convolution; its offsets stay."""
    net = Deformed(masked=masked)
    assert_any_plan_is_proven(net)
    graph = ww.trace(net, torch.randn(2, 3, 4, 4))
    assert graph.axes["deform"].frozen is None
    assert "where a kernel reads" in str(graph.axes["offsets"].frozen)
    plain = nn.Sequential(net.first, nn.Conv2d(8, 6, 3, padding=1), net.last)
    others = 16 * (18 * 27 + (9 * 3 if masked else 0))
    assert graph.macs() == ww.trace(plain, torch.randn(1, 3, 4, 4)).macs() + others


class Aggregated(nn.Module):
    """Adds up what neighbours in a graph say."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.message, self.last = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        x = self.first(x)
        heard = torch.zeros_like(x).index_add_(0, edges[1], self.message(x)[edges[0]])
        return self.last(x + heard)


def test_networks_on_graphs_are_narrowed() -> None:
    """Nodes are places, channels pass."""
    torch.manual_seed(0)
    net, inputs = Aggregated(), (torch.randn(6, 5), torch.randint(6, (2, 9)))
    plan = ww.plan(ww.trace(net, inputs), score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(net, plan)
    assert small.first.out_features == small.message.out_features < 8
    assert small(*inputs).shape == (6, 3)


def test_what_is_gathered_over_channels_stays() -> None:
    """Indices of channels are values: none may go, and the call is named."""
    net = Gated(lambda x: x.gather(1, x.flatten(2).argmax(2)[..., None, None] % x.shape[1]))
    axis = ww.trace(net, torch.randn(2, 3, 4, 4)).axes["first"]
    assert "gather" in str(axis.frozen)


ALONG_CHANNELS = {
    "tril": lambda x: x.transpose(1, 3).tril().transpose(1, 3),
    "diagonal": lambda x: (
        x + torch.diagonal(x[:, :, :, 0], dim1=1, dim2=2).sum(1)[:, None, None, None]
    ),
    "rot90": lambda x: x.rot90(2, (1, 2)),
    "cummax": lambda x: x.cummax(1)[0],
    "index_add": lambda x: x.index_add(1, torch.tensor([0]), x[:, :1].exp()),
    "index_fill": lambda x: x.index_fill(1, torch.tensor([1]), 3.0),
    "scatter": lambda x: x.scatter(1, x.argmax(1, keepdim=True), 0.0),
    "slice_scatter": lambda x: x.slice_scatter(x[:, :2].exp(), 1, 0, 2),
    "select_scatter": lambda x: x.select_scatter(x.mean(1), 1, 1),
}


@pytest.mark.parametrize("name", ALONG_CHANNELS)
def test_what_works_by_place_along_channels_keeps_them(name: str) -> None:
    """Which channel stands where matters there: none may go, and the call says why."""
    axis = ww.trace(Changed(ALONG_CHANNELS[name]), torch.randn(2, 3, 4, 4)).axes["first"]
    assert f"aten.{name}" in str(axis.frozen)


def test_distances_between_channels_are_taken_over_those_that_stay() -> None:
    """A distance sums over channels, with no weight that could mask those that go."""
    assert_any_plan_is_proven(
        Gated(
            lambda x: torch.cdist(x.flatten(2).mT, x.flatten(2).mT).mean((1, 2))[
                :, None, None, None
            ]
        )
    )
