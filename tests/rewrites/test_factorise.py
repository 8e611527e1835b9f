"""Factorised convolutions: the published formula and costs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import widthwise as ww
from widthwise.models.registry import resolve
from widthwise.rewrites import Factorise

X = torch.randn(2, 8, 9, 9, generator=torch.Generator().manual_seed(0))


def test_a_layer_computes_the_published_formula() -> None:
    """relu(x + mix(depthwise(x))), and no shortcut where the sizes differ."""
    model = nn.Sequential(nn.Conv2d(8, 12, 3, stride=2, padding=1))
    first, last = Factorise("0", 2).apply(model, X)[0]
    small = F.conv2d(X, first.depthwise.weight, stride=2, padding=1, groups=8)
    small = F.relu(F.conv2d(small, first.mix.weight, first.mix.bias))
    assert torch.allclose(first(X), small, atol=1e-6)
    assert last(small).shape == model(X).shape

    same = Factorise("0", 1).apply(nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)), X)[0][0]
    mixed = F.conv2d(X, same.depthwise.weight, padding=1, groups=8)
    mixed = F.conv2d(mixed, same.mix.weight, same.mix.bias)
    assert torch.allclose(same(X), F.relu(X + mixed), atol=1e-6)


@pytest.mark.parametrize(
    ("name", "layers", "count", "macs", "params"),
    [
        ("dncnn", "body.*.0", 2, 2.38e9, 0.15e6),
        ("dncnn", "body.*.0", 3, 3.54e9, 0.22e6),
        ("srresnet", "body.*.conv?", 2, 18.38e9, 0.66e6),
        ("srresnet", "body.*.conv?", 3, 20.83e9, 0.81e6),
    ],
)
def test_costs_are_those_of_the_tables(
    name: str, layers: str, count: int, macs: float, params: float
) -> None:
    """DHP, Tables 2 and 3, for images of 128 by 128 (whose counter adds normalisations)."""
    model = resolve(f"widthwise/{name}").build()
    x = torch.zeros(1, 1 if name == "dncnn" else 3, 128, 128)
    graph = ww.trace(Factorise(layers, count).apply(model, x), x)
    assert graph.macs() == pytest.approx(macs, rel=0.03)
    assert graph.params() == pytest.approx(params, abs=0.005e6)


def test_weights_are_the_same_every_time_and_the_random_state_stays() -> None:
    """Two calls draw alike, and nobody else's numbers change."""
    model = resolve("widthwise/resnet20").build().eval()
    before = torch.random.get_rng_state()
    first, second = (Factorise("layer3.*.conv2").apply(model, X) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(first(x), second(x))


# PyTorch tells that it may copy the input.
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize(("kernel", "padding"), [(2, 1), (4, 2), (5, 2), (1, 0)])
def test_only_the_first_layer_changes_sizes(kernel: int, padding: int) -> None:
    """A stack in the place of a convolution has its output's shape, for even kernels too."""
    model = nn.Sequential(nn.Conv2d(8, 12, kernel, stride=2, padding=padding))
    assert Factorise("0", 3).apply(model, X)(X).shape == model(X).shape


def test_no_layers_are_refused() -> None:
    """A stack of none is no network."""
    with pytest.raises(ww.errors.ConfigError, match="at least 1 layer, got 0"):
        Factorise("0", 0)
