"""Mistakes of ours are raised, and not taken for a network that fails at a width."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.graph.recording import meta_kernels
from widthwise.rules import Label, Op, registry

NET = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
IMAGE = torch.zeros(1, 3, 4, 4)


class OurMistake(Exception):
    """What a broken kernel or rule raises in these tests."""


@pytest.mark.parametrize("only_when_narrow", [False, True])
def test_a_broken_kernel_is_raised(monkeypatch: pytest.MonkeyPatch, only_when_narrow: bool) -> None:
    """An exception in a meta kernel leaves the trace as it is, from full and narrow runs alike."""

    def broken(tensor: Tensor) -> Tensor | None:
        if only_when_narrow and tensor.shape[1] == 8:
            return None
        raise OurMistake("in a kernel")

    monkeypatch.setitem(meta_kernels._SHORTCUTS, torch.ops.aten.relu.default, broken)
    with pytest.raises(OurMistake, match="in a kernel"):
        ww.trace(NET, IMAGE)


@pytest.fixture
def broken_rule(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A rule for ReLU that raises."""

    def rule(_: Op) -> Label:
        raise OurMistake("in a rule")

    monkeypatch.setitem(registry._RULES, torch.ops.aten.relu, rule)
    yield


def test_a_broken_rule_is_raised(broken_rule: None) -> None:
    """The error of a rule is not reported as the network's own."""
    with pytest.raises(OurMistake, match="in a rule"):
        ww.trace(NET, IMAGE)


def test_what_pytorch_refuses_is_the_networks_fault() -> None:
    """An operator that does not run at a width freezes what it touches, with PyTorch's words."""

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Any:
            return self.last(self.first(x) + torch.ones(8, 1, 1))

    graph = ww.trace(Fixed(), IMAGE)
    assert graph.axes["first"].frozen is not None
