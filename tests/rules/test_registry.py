"""Rules of users are rules like ours."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.rules import Op, lookup, pass_through, register, registry


@torch.library.custom_op("widthwise_rule_tests::swap_halves", mutates_args=())
def swap_halves(x: Tensor) -> Tensor:
    """Exchange the halves of the channels."""
    return torch.cat(x.chunk(2, dim=1)[::-1], dim=1)


@swap_halves.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class Net(nn.Module):
    """Two convolutions around the custom operator."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(swap_halves(self.a(x)))


def halves(op: Op) -> tuple:
    """Halves keep equal counts; the second comes first."""
    batch, channels, *space = op.label(op.args[0])
    if channels is not None:
        op.tie_together(channels.reshape(2, -1).T)
        channels = torch.tensor(channels).roll(len(channels) // 2).numpy()
    return (batch, channels, *space)


@pytest.fixture
def fresh_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is gone after it."""
    monkeypatch.setattr(registry, "_RULES", dict(registry._RULES))


def test_custom_operator_is_frozen_until_it_has_a_rule(fresh_rules: None) -> None:
    """Registering a rule from outside the package frees the axis, and the proof passes."""
    net, image = Net(), torch.randn(1, 3, 4, 4)
    assert "has no rule" in str(ww.trace(net, image).axes["a"].frozen)
    register(torch.ops.widthwise_rule_tests.swap_halves)(halves)
    graph = ww.trace(net, image)
    assert (graph.axes["a"].frozen, graph.axes["a"].unit_size) == (None, 2)
    plan = ww.plan(graph, score=ww.scores.Random(), budget=ww.Macs(0.6))
    assert ww.shrink(net, plan).a.out_channels == 2 * plan.widths["a"]


def test_pointwise_operators_need_no_rule_of_their_own() -> None:
    """PyTorch's own tag says which operators are pointwise."""
    assert lookup(torch.ops.aten.gelu.default) is lookup(torch.ops.aten.add.Tensor)


def test_overload_rule_wins_over_packet_rule(fresh_rules: None) -> None:
    """A rule for one overload is preferred to the rule for all, whichever was registered last."""
    packet = torch.ops.widthwise_rule_tests.swap_halves
    register(packet.default)(halves)
    register(packet)(pass_through)
    assert lookup(packet.default) is halves


def test_packet_rule_wins_over_the_rule_of_a_tag(fresh_rules: None) -> None:
    """An operator that PyTorch calls pointwise may have a rule of its own."""
    assert lookup(torch.ops.aten.gelu.default) is not halves
    register(torch.ops.aten.gelu)(halves)
    assert lookup(torch.ops.aten.gelu.default) is halves
    assert lookup(torch.ops.aten.relu.default) is not halves


@pytest.mark.parametrize("name", ["convolution", "addmm", "native_batch_norm", "cat", "view"])
def test_families_are_registered_on_import(name: str) -> None:
    """The rules of every family are there without further imports."""
    assert lookup(getattr(torch.ops.aten, name).default) is not None
