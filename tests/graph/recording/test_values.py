"""Forwards that read values: imagined, real, or refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from cases import BY_NAME
from widthwise.shrinking import prove


class Paths(nn.Module):
    """Chooses rows by a mask, then goes by a condition of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.other, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x[x.new_ones(len(x)) > 0]
        return self.last(x if self.skips(x) else self.other(x))

    def skips(self, x: Tensor) -> bool:
        """Tell whether the layer in the middle is left out."""
        return False


class SkipsByValue(Paths):
    """Leaves the layer out if a value says so."""

    def skips(self, x: Tensor) -> bool:
        return bool(x.sum() > 1e9)


class LoopsByValue(Paths):
    """Goes on until two conditions differ, which no imagined ones do."""

    def skips(self, x: Tensor) -> bool:
        peak = x.abs().max()
        while bool(peak > 1e9) == bool(peak >= 0):
            pass
        return False


def test_choosing_by_value_needs_no_weights() -> None:
    """A forward that chooses by value is traced without any values."""
    net = BY_NAME["chosen_by_score"].build().to("meta")
    graph = ww.trace(net, BY_NAME["chosen_by_score"].example_inputs)
    assert graph.axes["trunk.0"].frozen is None
    assert "imagined values" in str(graph)


def test_imagination_does_not_lead_past_layers() -> None:
    """Of two ways that a condition may go, the trace takes the one that uses every layer."""
    graph = ww.trace(SkipsByValue(), torch.zeros(4, 6))
    assert ("other.weight", 1) in graph.axes["first"].members
    assert graph.axes["other"].frozen is None


def test_a_loop_that_only_values_end_ends() -> None:
    """Where imagination gets nowhere, the forward is traced on real tensors."""
    graph = ww.trace(LoopsByValue(), torch.zeros(4, 6))
    assert "real tensors" in str(graph)
    assert graph.axes["first"].frozen is None


class Ranked(nn.Module):
    """Ranks what it makes of rows by their scores."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.score, self.value = nn.Linear(6, 32), nn.Linear(32, 1), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.value(x)[self.score(self.embed(x))[:, 0].argsort()]


def test_the_proof_is_not_turned_by_rounding() -> None:
    """Rows whose scores differ by rounding only are compared in one order."""
    torch.manual_seed(0)
    model = Ranked().eval()
    with torch.no_grad():
        model.embed.weight.mul_(1e-4)
        model.embed.bias.add_(1e3)
    graph = ww.trace(model, torch.zeros(64, 6))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Params(0.6))
    small = ww.shrink(model, plan, verify=False)
    assert prove(model, small, plan).dtype is torch.float32


def test_the_proof_sees_a_wrong_decision() -> None:
    """What a decision is made from is compared, so a wrong cut shows before its consequences."""
    torch.manual_seed(0)
    model = Ranked().eval()
    graph = ww.trace(model, torch.zeros(64, 6))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Params(0.6))
    small = ww.shrink(model, plan)
    with torch.no_grad():
        small.score.bias.add_(1e-3)
    with pytest.raises(ww.errors.ProofError, match="score"):
        prove(model, small, plan)
