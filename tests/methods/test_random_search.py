"""Random search: candidates cost what they may, the best of them is taken, and what it is for."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import BudgetError, ConfigError
from widthwise.methods.random_search import _at_random, _judge
from widthwise.search.limits import Limits
from widthwise.search.planning import select


class Net(nn.Module):
    """Four convolutions, of which only the second matters for what is asked."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 16, 16, 16)
        pairs = itertools.pairwise(widths)
        self.layers = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU())
                for a, b in pairs
            )
        )
        self.fc = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.layers(x).mean((2, 3)))


def given() -> tuple[Net, list[tuple[Tensor, Tensor]]]:
    """A network in evaluation mode, and batches whose classes are its own answers."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Net()
        batches = [torch.randn(16, 3, 8, 8) for _ in range(4)]
        for images in batches:
            net(images)
        net.eval()
        with torch.no_grad():
            net.fc.weight *= 20
            return net, [(images, net(images).argmax(1)) for images in batches]


def searched(**options) -> tuple[nn.Module, ww.Plan]:
    """A search on that network."""
    net, batches = given()
    settings = {"budget": ww.Macs(0.5), "candidates": 6, "round_to": 1, **options}
    return ww.methods.random_search(
        net, batches[0][0][:1], loss=functional.cross_entropy, batches=batches, **settings
    )


def test_the_result_is_proven_and_within_the_budget() -> None:
    """A network of the same class, cut by the plan, with a method and a seed in it."""
    small, plan = searched(seed=3)
    assert type(small) is Net and not small.training
    assert plan.macs() <= 0.5 * plan.full_macs
    assert (plan.method, plan.seed) == ("random_search", 3)
    assert len(set(plan.widths.values())) > 1


def test_the_same_seed_finds_the_same_and_another_one_others() -> None:
    """Nothing but the seed decides, and the random state of the user stays."""
    state = torch.get_rng_state()
    plans = [searched(seed=seed)[1] for seed in (0, 0, 1)]
    assert plans[0].widths == plans[1].widths != plans[2].widths
    assert torch.equal(torch.get_rng_state(), state)


def test_more_candidates_are_never_worse_on_what_they_are_judged_by() -> None:
    """The first ones are the same, so the best of more of them is at least as good."""
    _, batches = given()
    losses = []
    for candidates in (1, 4, 16):
        small, _ = searched(candidates=candidates)
        losses.append(_judge(small, functional.cross_entropy, batches[:2], batches[2:]))
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0]


def test_the_network_stays_as_it_is() -> None:
    """Statistics are estimated in copies."""
    net, batches = given()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    ww.methods.random_search(
        net, batches[0][0][:1], loss=functional.cross_entropy, batches=batches,
        budget=ww.Macs(0.5), candidates=2,
    )  # fmt: skip
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_candidates_keep_shares_in_random_proportions() -> None:
    """Scaled together: at any budget, widths are the drawn shares times one number, up to 1."""
    net, batches = given()
    graph = ww.trace(net, batches[0][0][:1])
    ranks = ww.scores.L1()(graph)
    scores = _at_random(graph, ranks, 0.2, np.random.default_rng(0))
    drawn = np.random.default_rng(0).uniform(0.2, 1, size=len(graph.axes))
    kept = select(graph, scores, [ww.Macs(0.3)], Limits(round_to=1))
    ratios = []
    for share, axis in zip(drawn, graph.axes.values(), strict=True):
        own = kept[axis.units]
        if axis.frozen is None:
            ratios.append((own.sum() / axis.width) / share)
            # The largest units of each axis stay.
            assert ranks[axis.units][own].min() >= ranks[axis.units][~own].max(initial=0)
    widest = 1 / 16 / 0.2
    assert max(ratios) - min(ratios) < 2 * widest


def test_progress_is_told() -> None:
    """Before each candidate."""
    told = []
    searched(candidates=3, progress=lambda number, of: told.append((number, of)))
    assert told == [(0, 3), (1, 3), (2, 3)]


def test_a_loss_that_is_no_number_loses() -> None:
    """NaN compares as neither smaller nor larger; here it is the worst."""
    net, batches = given()

    def broken(outputs: Tensor, target: Tensor) -> Tensor:
        return outputs.sum() * math.nan

    assert _judge(net, broken, batches[:1], batches[1:]) == math.inf


def test_bad_input_is_named() -> None:
    """Numbers, batches and budgets that cannot be."""
    for option, value in (("candidates", 0), ("least", 0.0)):
        with pytest.raises(ConfigError, match=option):
            searched(**{option: value})
    net, batches = given()
    with pytest.raises(ConfigError, match="at least 2"):
        ww.methods.random_search(
            net, batches[0][0], loss=functional.cross_entropy, batches=batches[:1],
            budget=ww.Macs(0.5),
        )  # fmt: skip
    with pytest.raises(BudgetError):
        searched(budget=ww.Macs(0.0001))
