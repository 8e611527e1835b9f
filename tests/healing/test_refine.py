"""Refining: layers read what the full network's layers read, and never worse on held-out inputs."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import oracles
import widthwise as ww
from strategies import plan_of, random_mask
from widthwise.healing import refine


def images(count: int, seed: int = 0) -> Tensor:
    """Random images."""
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


class Block(nn.Module):
    """A residual block with a narrow inside, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 12, 3, padding=1), nn.Conv2d(12, 12, 3, padding=1)
        self.outer, self.norm = nn.Conv2d(12, 12, 3, padding=1), nn.BatchNorm2d(12)
        self.act, self.head = nn.ReLU(), nn.Conv2d(12, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        x = x + self.norm(self.outer(self.inner(x).relu()))
        return self.head(self.act(x))


def cut(model: nn.Module, keep: float = 0.5) -> Any:
    """Cut the inside of the block at random."""
    graph = ww.trace(model, images(1))
    kept = random_mask(graph, np.random.default_rng(0), keep)
    kept[graph.axes["stem"].units] = True
    plan = plan_of(graph, kept)
    return ww.shrink(model, plan, verify=False), plan


def test_a_refined_network_is_closer_than_a_fitted_one() -> None:
    """On fresh inputs, from the same healed network; the full network and all flags stay."""
    torch.manual_seed(0)
    model = Block()
    with torch.no_grad():
        # The norm takes statistics, so that the branch matters.
        for seed in range(20):
            model(images(64, seed))
    model.eval()
    before = copy.deepcopy(model.state_dict())
    small, plan = cut(model)
    small.head.weight.requires_grad_(False)
    batches = [images(64, seed) for seed in range(8)]
    fitted = copy.deepcopy(small)
    ww.heal(fitted, model, plan, batches)
    report = ww.heal(small, model, plan, batches, steps=100)
    assert report.refined is not None and report.refined.steps == 100
    assert report.refined.after < 0.97 * report.refined.before
    assert "refined: 100 steps" in str(report)
    fresh = images(64, 99)
    with torch.no_grad():
        errors = [oracles.relative_error([net(fresh)], [model(fresh)]) for net in (fitted, small)]
    assert errors[1] < 0.97 * errors[0]
    assert all(torch.equal(before[name], each) for name, each in model.state_dict().items())
    flags = {name for name, p in small.named_parameters() if not p.requires_grad}
    assert flags == {"head.weight"}
    assert all(p.grad is None for p in small.parameters())
    assert not small.training


def test_what_would_be_worse_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """At an absurd rate the network stays as it was fitted, also where numbers overflow."""
    torch.manual_seed(0)
    model = Block().eval()
    for rate in (30.0, 1e30):
        monkeypatch.setattr(refine, "_RATES", (rate,))
        small, plan = cut(model)
        fitted = copy.deepcopy(small)
        ww.heal(fitted, model, plan, [images(64)])
        report = ww.heal(small, model, plan, [images(64)], steps=5)
        assert report.refined is not None
        assert report.refined.after == report.refined.before
        for name, tensor in fitted.state_dict().items():
            assert torch.equal(tensor, small.state_dict()[name]), name


class InPlace(Block):
    """Code that writes into what gradients are computed of."""

    def forward(self, x: Tensor) -> Tensor:
        x = torch.sigmoid(self.stem(x))
        y = self.inner(x).sigmoid()
        out = self.outer(y)
        y.zero_()
        return self.head(x + out)


def test_a_network_without_gradients_stays_as_it_was_fitted() -> None:
    """And the report says why."""
    torch.manual_seed(0)
    model = InPlace().eval()
    small, plan = cut(model)
    fitted = copy.deepcopy(small)
    ww.heal(fitted, model, plan, [images(64)])
    report = ww.heal(small, model, plan, [images(64)], steps=5)
    assert "refined: nothing: no gradients: " in str(report)
    for name, tensor in fitted.state_dict().items():
        assert torch.equal(tensor, small.state_dict()[name]), name


def test_one_input_is_too_few() -> None:
    """Nothing can be held out of it."""
    model = Block().eval()
    small, plan = cut(model)
    report = ww.heal(small, model, plan, [images(1)], steps=5)
    assert report.refined is not None and report.refined.why_not is not None
    assert "too few" in report.refined.why_not


def test_batches_of_one_are_drawn_from_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step sees as many inputs as it wants, however they were handed over."""
    torch.manual_seed(0)
    model = Block().eval()
    small, plan = cut(model)
    sizes = []
    drawn = refine._drawn

    def noted(inputs: Any, count: int, generator: torch.Generator) -> Any:
        found = drawn(inputs, count, generator)
        sizes.append(found.batch)
        return found

    monkeypatch.setattr(refine, "_drawn", noted)
    ww.heal(small, model, plan, list(images(96).split(1)), steps=4)
    assert set(sizes) == {64}


def test_half_precision_is_fitted_only() -> None:
    """Steps would be lost in rounding."""
    model = Block().eval().bfloat16()
    graph = ww.trace(model, images(1).bfloat16())
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6))
    small = ww.shrink(model, plan)
    report = ww.heal(small, model, plan, [images(16).bfloat16()], steps=5)
    assert "no parameters in single precision" in str(report)


def test_what_layers_read_is_compared_channel_by_channel() -> None:
    """The loss of a network cut without loss is zero, and it is the sum of relative errors."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 3)).eval()
    with torch.no_grad():
        model[1].weight[:, 1::2] = 0.0
    graph = ww.trace(model, torch.zeros(1, 4))
    kept = graph.everything.copy()
    kept[graph.axes["0"].units.start + 1 : graph.axes["0"].units.stop : 2] = False
    small = ww.shrink(model, plan_of(graph, kept))
    columns = {"1": torch.tensor([0, 2, 4])}
    x = torch.randn(32, 4)
    both = refine._Both(small, model, columns)
    assert float(both.loss(refine.Inputs.of(x)).detach()) < 1e-10
    with torch.no_grad():
        small[0].bias += 0.5
        wanted = model[0](x)[:, [0, 2, 4]]
        outputs = model(x)
        variances = [each.var(correction=0) for each in (wanted, outputs)]
        expected = 0.25 / variances[0] + (small(x) - outputs).square().mean() / variances[1]
    found = float(both.loss(refine.Inputs.of(x)).detach())
    assert found == pytest.approx(float(expected), rel=1e-4)
