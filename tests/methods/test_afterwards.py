"""Methods that decide when training is over: by the trained weights, and within the budget."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import BudgetError, ConfigError
from widthwise.methods import CompressSettings, OneShotSettings, RandomSearchSettings
from widthwise.methods.one_shot import Criterion
from widthwise.search.limits import Limits

SETTINGS = [
    CompressSettings(inputs=64, steps=5),
    RandomSearchSettings(candidates=2),
    *(OneShotSettings(criterion=c) for c in Criterion),
]
each_method = pytest.mark.parametrize(
    "settings", SETTINGS, ids=lambda each: f"{each.name}-{getattr(each, 'criterion', '')}"
)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4),
        )  # fmt: skip


class Bench:
    """Lends a network, and trains it for a step."""

    loss = staticmethod(functional.cross_entropy)

    def __init__(self) -> None:
        self._network = network()
        self.example = torch.zeros(1, 3, 8, 8)
        self.trained = 0
        self.asked: list[int] = []
        self.said: list[str] = []

    def network(self) -> nn.Module:
        return self._network

    def build(self) -> nn.Module:
        return network()

    def batch(self, number: int = 0) -> tuple[Tensor, Tensor]:
        self.asked.append(number)
        generator = torch.Generator().manual_seed(number)
        images = torch.randn(16, 3, 8, 8, generator=generator)
        return images, torch.randint(4, (16,), generator=generator)

    def train_plainly(self, network: nn.Module) -> torch.optim.Optimizer:
        optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
        images, labels = self.batch()
        functional.cross_entropy(network.train()(images), labels).backward()
        optimizer.step()
        self.trained += 1
        return optimizer

    def says(self, number: int, of: int, what: str) -> None:
        assert 0 <= number < of
        self.said.append(what)


@each_method
def test_it_decides_when_training_is_over(settings) -> None:
    """The network is within the budget and proven, and the optimizer goes along."""
    bench = Bench()
    found = settings.decide(bench, budget=[ww.Macs(0.5)], limits=Limits(round_to=1), seed=0)
    assert bench.trained == 1
    assert found.plan.macs() <= 0.5 * found.plan.full_macs
    assert found.plan.method.startswith(settings.name)
    assert found.network(bench.example).shape == (1, 4)
    held = {id(p) for group in found.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in found.network.parameters()}
    assert found.optimizer.state


@each_method
def test_what_cannot_be_met_is_refused_before_training(settings) -> None:
    """Hours of training for nothing would be the price of asking afterwards."""
    bench = Bench()
    with pytest.raises(BudgetError):
        settings.decide(bench, budget=[ww.Macs(0.0001)], limits=Limits(), seed=0)
    assert bench.trained == 0


def test_a_score_reads_the_trained_weights() -> None:
    """The graph is made before training, and its weights are those of afterwards."""
    bench = Bench()
    settings = OneShotSettings(criterion=Criterion.l2)
    found = settings.decide(bench, budget=[ww.Macs(0.5)], limits=Limits(round_to=1), seed=0)
    graph = ww.trace(bench.network(), bench.example)
    plan = ww.plan(graph, score=ww.scores.L2(), budget=ww.Macs(0.5), round_to=1)
    assert found.plan.axes == plan.axes


def test_a_compression_is_healed_on_as_many_inputs_as_asked_for() -> None:
    """Whole batches, each another one; and the narrow network answers as the full one, nearly."""
    bench = Bench()
    settings = CompressSettings(inputs=40, steps=0)
    found = settings.decide(bench, budget=[ww.Macs(0.5)], limits=Limits(round_to=1), seed=0)
    assert bench.asked == [0, 0, 1, 2]  # One for the training, three for 40 of 16 at a time.
    full = bench.network().eval()
    healed = found.network.eval()
    cut = ww.shrink(full, found.plan)
    images, _ = bench.batch(1)

    def error(small: nn.Module) -> float:
        with torch.no_grad():
            return functional.mse_loss(small(images), full(images)).item()

    assert error(healed) < error(cut)
    assert bench.said


def test_settings_that_cannot_be_are_named() -> None:
    """Numbers out of range."""
    with pytest.raises(ConfigError, match="inputs"):
        CompressSettings(inputs=1)
    with pytest.raises(ConfigError, match="steps"):
        CompressSettings(steps=-1)
