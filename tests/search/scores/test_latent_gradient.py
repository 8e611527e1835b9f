"""The gradient of a loss with respect to latents, as a score."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import ConfigError, SearchError
from widthwise.search.handles.hyper_conv import HyperConv

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 1])


class Net(nn.Module):
    """A residual branch that starts at zero, a free layer, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 5, 3, padding=1)
        self.back = nn.Conv2d(5, 6, 3, padding=1)
        self.silent = nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 7, 1)
        self.fc = nn.Linear(7, 3)
        self.modes: list[bool] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.modes.append(self.training)
        x = self.norm(self.stem(x)).relu()
        x = x + self.silent(self.back(self.inner(x).relu()))
        return self.fc(self.last(x).relu().mean((2, 3)))


def network(**options) -> Net:
    """The network with fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        net = Net().to(**options)
    return net


def score(**options) -> ww.scores.LatentGradient:
    """The score of cross-entropy on four images."""
    settings = {"loss": functional.cross_entropy, "batch": (IMAGES, LABELS), **options}
    return ww.scores.LatentGradient(**settings)


def test_it_is_the_derivative_of_the_loss() -> None:
    """Every driven unit has the magnitude of the difference quotient of the loss at its latent."""
    net = network(dtype=torch.float64)
    graph = ww.trace(net, IMAGES[:1].double())
    found = score(batch=(IMAGES.double(), LABELS), embedding_dim=3, seed=4)(graph)
    weights = HyperConv(graph, net, embedding_dim=3, seed=4)
    weights.attach()
    step = 1e-6

    def loss() -> float:
        return functional.cross_entropy(net(IMAGES.double()), LABELS).item()

    with torch.no_grad():
        for unit in np.flatnonzero(weights.driven):
            weights.latents[unit] += step
            above = loss()
            weights.latents[unit] -= 2 * step
            below = loss()
            weights.latents[unit] += step
            assert found[unit] == pytest.approx(abs(above - below) / (2 * step), abs=1e-7)
    assert (found[graph.axes["stem"].units] > 0).all()


def test_the_network_comes_back_bit_for_bit() -> None:
    """Weights, statistics, gradients, flags, modes, hooks and random state are as they were."""
    net = network()
    net.eval().norm.train()
    net.back.bias.requires_grad_(False)
    net.stem.weight.grad = torch.ones_like(net.stem.weight)
    graph = ww.trace(net, IMAGES[:1])
    objects = dict(net.named_parameters())
    state = {key: value.clone() for key, value in net.state_dict().items()}
    modes = [module.training for module in net.modules()]
    random = torch.get_rng_state()
    score()(graph)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in net.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert list(net.state_dict()) == list(state)
    assert all(parameter is objects[name] for name, parameter in net.named_parameters())
    assert {n for n, p in net.named_parameters() if p.grad is not None} == {"stem.weight"}
    assert {n for n, p in net.named_parameters() if not p.requires_grad} == {"back.bias"}
    assert not net._forward_hooks and not net._forward_pre_hooks


def test_it_is_read_in_training_mode() -> None:
    """Whatever mode the network is in, the pass is one of training."""
    net = network().eval()
    graph = ww.trace(net, IMAGES[:1])
    net.modes.clear()
    first = score()(graph)
    assert net.modes == [True]
    assert np.array_equal(score()(ww.trace(net.train(), IMAGES[:1])), first)


def test_it_is_a_function_of_its_seed() -> None:
    """The same seed gives the same scores, dropout and global seed or not; another seed others."""
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Dropout(0.5), nn.Conv2d(6, 3, 6), nn.Flatten())
    graph = ww.trace(net, IMAGES[:1])
    first = score(seed=3)(graph)
    torch.manual_seed(99)
    assert np.array_equal(score(seed=3)(graph), first)
    assert not np.array_equal(score(seed=4)(graph), first)


def test_a_scale_that_starts_at_zero_hides_nothing() -> None:
    """Layers behind a normalisation that is initialised to zero have a gradient all the same."""
    net = network()
    nn.init.zeros_(net.silent.weight)
    graph = ww.trace(net, IMAGES[:1])
    found = score()(graph)
    assert (found[graph.axes["inner"].units] > 0).all()
    assert not net.silent.weight.any()


def test_units_that_nothing_generates_go_last() -> None:
    """An axis made and read by weights that are not trained gets the largest score."""
    net = network()
    for layer in (net.inner, net.back):
        layer.weight.requires_grad_(False)
    graph = ww.trace(net, IMAGES[:1])
    found = score()(graph)
    assert (found[graph.axes["inner"].units] == found.max()).all()
    assert found.max() > 0


def test_it_makes_a_plan_of_any_network() -> None:
    """As a score it needs no widening and names itself briefly."""
    net = network()
    graph = ww.trace(net, IMAGES[:1])
    plan = ww.plan(graph, score=score(), budget=ww.Macs(0.5))
    assert plan.macs() <= 0.5 * plan.full_macs
    assert plan.method == "LatentGradient(embedding_dim=8, seed=1)"


@pytest.mark.parametrize("kind", [tuple, dict])
def test_inputs_are_passed_as_the_forward_takes_them(kind: type) -> None:
    """A batch may hold a tuple or a dict of inputs, and a target of any structure."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Conv2d(3, 6, 3)
            self.b = nn.Conv2d(6, 3, 6)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x - y)).flatten(1)

    pair = {"x": IMAGES, "y": IMAGES.flip(0)}
    inputs = pair if kind is dict else tuple(pair.values())
    net = Two()
    graph = ww.trace(net, inputs)

    def loss(outputs: torch.Tensor, target: dict[str, torch.Tensor]) -> torch.Tensor:
        return functional.cross_entropy(outputs, target["labels"])

    found = score(loss=loss, batch=(inputs, {"labels": LABELS}))(graph)
    assert (found[graph.axes["a"].units] > 0).all()


def test_no_grad_outside_does_not_matter() -> None:
    """The one gradient is taken also where the caller has switched gradients off."""
    net = network()
    graph = ww.trace(net, IMAGES[:1])
    expected = score()(graph)
    with torch.no_grad():
        assert np.array_equal(score()(graph), expected)


def nan_gradient(outputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Finite, but of infinite slope."""
    return (outputs - outputs.detach()).abs().sqrt().sum()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"batch": (IMAGES, LABELS[:3])}, ConfigError, r"in the loss function(?s:.*)\[3\] int64"),
        (
            {"batch": (IMAGES[:, :2], LABELS)},
            ConfigError,
            r"in the forward pass(?s:.*)\[4, 2, 8, 8",
        ),
        ({"batch": (IMAGES.double(), LABELS)}, ConfigError, "float64"),
        ({"batch": IMAGES[:2]}, ConfigError, r"a pair .*, got a tensor \[2, 3, 8, 8\] float32"),
        ({"batch": (IMAGES, LABELS, 1)}, ConfigError, "a pair .*, got tuple of 3"),
        (
            {"loss": lambda y, t: y.square()},
            ConfigError,
            r"a tensor \[4, 3\] float32; expected one",
        ),
        ({"loss": lambda y, t: 1.0}, ConfigError, "The loss is float"),
        ({"loss": lambda y, t: (y.argmax(1) == t).sum()}, ConfigError, "int64; expected one"),
        ({"loss": lambda y, t: y.detach().sum()}, ConfigError, "does not depend on the weights"),
        ({"batch": (IMAGES * torch.nan, LABELS)}, SearchError, "The loss of this batch is nan"),
        ({"loss": nan_gradient}, SearchError, "gradient of this batch's loss is not finite"),
    ],
)
def test_what_gives_no_gradient_is_an_error_that_says_why(
    options: dict, error: type[Exception], message: str
) -> None:
    """The message says where it went wrong and what was passed; the network comes back."""
    net = network()
    graph = ww.trace(net, IMAGES[:1])
    state = {key: value.clone() for key, value in net.state_dict().items()}
    with pytest.raises(error, match=message):
        score(**options)(graph)
    assert type(net.stem) is nn.Conv2d
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(parameter.grad is None for parameter in net.parameters())
