"""Scores that read weights: values by hand, and which weights they read."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm

import widthwise as ww

IMAGE = torch.zeros(1, 3, 8, 8)


def two_layers() -> nn.Sequential:
    """Two linear layers; unit 0 of the first has weights 3 and 4, unit 1 has 0 and 1; 12 and 0."""
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net[0].weight.data.copy_(torch.tensor([[3.0, -4.0], [0.0, 1.0]]))
    net[1].weight.data.copy_(torch.tensor([[12.0, 0.0]]))
    return net


@pytest.mark.parametrize(
    ("score", "expected"), [(ww.scores.L1(), (19, 1)), (ww.scores.L2(), (13, 1))]
)
def test_a_score_is_the_norm_of_all_weights_of_a_unit(
    score: ww.scores.Score, expected: tuple[float, float]
) -> None:
    """Weights that make a unit and weights that read it count, relative to the mean of the axis."""
    net = two_layers()
    graph = ww.trace(net, torch.zeros(1, 2))
    found = score(graph)[graph.axes["0"].units]
    np.testing.assert_allclose(found, np.array(expected) / np.mean(expected), rtol=1e-6)


def convolutions() -> nn.Sequential:
    """Two convolutions with fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU())


def plain_copy(net: nn.Sequential) -> nn.Sequential:
    """The same network with the weights it computes with as plain parameters."""
    plain = convolutions()
    with torch.no_grad():
        for mine, theirs in zip(plain, net, strict=True):
            if isinstance(mine, nn.Conv2d):
                mine.weight.copy_(theirs.weight)
    return plain


@pytest.mark.parametrize("score", [ww.scores.L1(), ww.scores.L2()])
def test_scores_of_a_searched_network_are_those_of_its_generated_weights(
    score: ww.scores.Score,
) -> None:
    """While a search is attached, scores read what the network computes with."""
    net = convolutions()
    before = score(ww.trace(net, IMAGE))
    search = ww.methods.dhp(net, IMAGE, budget=ww.Macs(0.5))
    found = score(search.graph)
    plain = plain_copy(net)
    np.testing.assert_allclose(found, score(ww.trace(plain, IMAGE)), rtol=1e-6)
    assert not np.allclose(found, before)


@pytest.mark.parametrize(
    "score", [ww.scores.L1(), ww.scores.L2(), ww.scores.Random(3), ww.scores.Uniform()]
)
def test_a_plan_can_be_asked_for_during_a_search(score: ww.scores.Score) -> None:
    """Every score makes a plan of a network that is being searched, and changes nothing."""
    net = convolutions()
    search = ww.methods.dhp(net, IMAGE, budget=ww.Macs(0.5))
    latents = search.handle.importance()
    plan = ww.plan(search.graph, score=score, budget=ww.Macs(0.5))
    assert plan.macs() <= 0.5 * plan.full_macs
    assert np.array_equal(search.handle.importance(), latents)
    assert all(parameter.grad is None for parameter in net.parameters())
    small, _ = search.finish()
    assert small(IMAGE).shape[1] == 4


@pytest.mark.parametrize(
    "norm",
    [
        pytest.param(parametrizations.weight_norm, id="weight_norm"),
        pytest.param(parametrizations.spectral_norm, id="spectral_norm"),
        pytest.param(weight_norm, id="weight_norm_by_hook"),
        pytest.param(spectral_norm, id="spectral_norm_by_hook"),
    ],
)
@pytest.mark.parametrize("score", [ww.scores.L1(), ww.scores.L2()])
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
def test_scores_read_the_weights_that_a_users_parametrization_gives(
    norm, score: ww.scores.Score
) -> None:
    """Normalised weights count as the network computes with them, not as it stores them."""
    net = convolutions()
    for layer in (net[0], net[2]):
        with torch.no_grad():
            layer.weight.mul_(torch.rand(len(layer.weight)).reshape(-1, 1, 1, 1) + 0.5)
        norm(layer)
    # What the network stores is moved away from what it last computed with.
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith(("original0", "weight_g")):
                parameter.copy_(torch.linspace(0.1, 4, parameter.numel()).view_as(parameter))
            elif name.endswith(("original", "weight_orig")):
                parameter.mul_(torch.linspace(0.1, 4, len(parameter)).reshape(-1, 1, 1, 1))
    graph = ww.trace(net, IMAGE)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    found = score(graph)
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert [module.training for module in net.modules()] == modes
    net.eval()(IMAGE)
    copy = plain_copy(net)
    plain = ww.trace(copy, IMAGE)
    units, expected = (g.slots["0.bias"][0] for g in (graph, plain))
    np.testing.assert_allclose(found[units], score(plain)[expected], rtol=1e-5)


def test_a_parametrization_that_changes_the_shape_counts_by_what_it_stores() -> None:
    """Where the computed weight is no tensor that was traced, its stored parts are read."""

    class Symmetric(nn.Module):
        def forward(self, half: torch.Tensor) -> torch.Tensor:
            return torch.cat([half, half], 1)

        def right_inverse(self, weight: torch.Tensor) -> torch.Tensor:
            return weight[:, : weight.shape[1] // 2]

    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    parametrize.register_parametrization(net[0], "weight", Symmetric())
    graph = ww.trace(net, torch.zeros(1, 4))
    stored = net[0].parametrizations.weight.original
    with torch.no_grad():
        stored.copy_(torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]))
        net[1].weight.zero_()
    assert ww.scores.L1()(graph)[graph.axes["0"].units].tolist() == [0.5, 1.0, 1.5]


def test_a_tied_weight_counts_once() -> None:
    """One tensor in two modules is one weight, also while it is generated."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1, bias=False), nn.ReLU(), nn.Conv2d(3, 3, 1, bias=False))
    net[2].weight = net[0].weight
    net.append(nn.Conv2d(3, 4, 1))
    net.append(nn.Conv2d(4, 2, 1))
    graph = ww.trace(net, IMAGE)
    own = ww.scores.L1()(graph)
    search = ww.methods.dhp(net, IMAGE, budget=ww.Macs(0.9), min_width=1)
    search.handle.write()
    during = ww.scores.L1()(search.graph)
    search.finish()
    np.testing.assert_allclose(during, ww.scores.L1()(graph), rtol=1e-6)
    assert own.shape == during.shape
