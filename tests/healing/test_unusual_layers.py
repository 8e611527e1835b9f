"""Layers that are not what their class says, forwards that fail: left alone, said, cleaned up."""

from __future__ import annotations

import copy
import threading
import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.models.convnext import LayerNorm2d

import oracles
import widthwise as ww
from strategies import plan_of
from widthwise.errors import ConfigError, TraceError


def images(count: int, seed: int = 0, size: int = 16) -> Tensor:
    """Random images."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def narrowed(model: nn.Module, example: Any, axis: str) -> tuple[nn.Module, ww.Plan]:
    """Cut every second unit of one axis."""
    graph = ww.trace(model, example)
    kept = graph.everything.copy()
    kept[graph.axes[axis].units][1::2] = False
    plan = plan_of(graph, kept)
    return ww.shrink(model, plan, verify=False), plan


def what(report: ww.HealReport) -> dict[str, str]:
    """What was done to each layer."""
    return {layer.path: layer.what for layer in report.layers}


@pytest.mark.parametrize("size", [12, 16])
def test_a_layer_norm_with_channels_in_front(size: int) -> None:
    """Its gains are those of channels, also where maps are as wide as there are channels."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 16, 3, padding=1),
        LayerNorm2d(16), nn.Conv2d(16, 4, 1),
    ).eval()  # fmt: skip
    small, plan = narrowed(model, images(1, size=size), "0")
    fresh = images(16, 9, size)
    fitted = copy.deepcopy(small)
    ww.heal(fitted, model, plan, [images(64, size=size)], layers=["2"])
    report = ww.heal(small, model, plan, [images(64, size=size)])
    assert what(report)["3"] == "scale and shift"
    layer = next(each for each in report.layers if each.path == "3")
    assert layer.after < layer.before
    with torch.no_grad():
        errors = [oracles.relative_error([net(fresh)], [model(fresh)]) for net in (fitted, small)]
    assert errors[1] < errors[0]


class Tied(nn.Module):
    """An embedding and a head with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 20, bias=False)
        self.table, self.a, self.b = nn.Embedding(20, 16), nn.Linear(16, 24), nn.Linear(24, 16)
        self.table.weight = self.head.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.table(x)
        return self.head(x + self.b(self.a(x).relu()))


def test_weights_of_two_modules_stay() -> None:
    """What suits one of them would break the other."""
    torch.manual_seed(0)
    model = Tied().eval()
    x = torch.randint(20, (64, 7))
    small, plan = narrowed(model, x[:1], "a")
    before = small.head.weight.detach().clone()
    report = ww.heal(small, model, plan, [x])
    assert what(report)["head"] == "nothing: its weights are those of another module too"
    assert what(report)["b"] == "weights"
    assert torch.equal(small.head.weight, before)


class WithScale(nn.Linear):
    """A linear layer that is called with something more."""

    def forward(self, x: Tensor, scale: float) -> Tensor:
        """Multiply twice."""
        return super().forward(x) * scale


class Twice(nn.Linear):
    """A linear layer that returns a tuple."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the product, and what it is of."""
        return super().forward(x), x


class Odd(nn.Module):
    """A layer between two others."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.a, self.c = kind, nn.Linear(6, 16), nn.Linear(16, 3)
        self.b: nn.Module = {"scale": WithScale, "tuple": Twice}.get(kind, nn.Linear)(16, 16)
        if kind == "norm":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.b = nn.utils.weight_norm(self.b)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        if self.kind == "scale":
            return self.c(self.b(x, 2.0).relu())
        y = self.b(x)
        return self.c((y[0] if isinstance(y, tuple) else y).relu())


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("norm", "its weights are computed"),
        ("scale", "does more than multiply its weights"),
        ("tuple", "puts out more than a tensor"),
    ],
)
def test_odd_layers_are_left_and_named(kind: str, why: str) -> None:
    """Healing, scoring and compressing go on without them."""
    torch.manual_seed(0)
    model = Odd(kind).eval()
    x = torch.randn(64, 6)
    small, plan = narrowed(model, x[:1], "a")
    report = ww.heal(small, model, plan, [x], steps=2)
    assert what(report)["b"] == f"nothing: {why}"
    score = ww.scores.Reconstruction([x])(ww.trace(model, x[:1]))
    assert bool(torch.from_numpy(score).isfinite().all())
    _, plan = ww.compress(model, [x, x + 0.1], budget=ww.Macs(0.7), steps=0)
    assert plan.macs() <= 0.7 * plan.full_macs


class Picky(nn.Module):
    """Refuses inputs above a bound, but not where it is traced."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 16), nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        if not x.is_meta and x.max() > 50:
            raise ValueError("too bright")
        return self.c(self.b(self.a(x).relu()).relu())


def test_a_forward_that_fails_leaves_nothing_behind() -> None:
    """An error of the library, no thread, no hook."""
    torch.manual_seed(0)
    model = Picky().eval()
    x = torch.randn(8, 6)
    small, plan = narrowed(model, x[:1], "a")
    threads = threading.active_count()
    bad = torch.full((5, 6), 99.0)
    with pytest.raises(TraceError, match="too bright"):
        ww.heal(small, model, plan, [x, bad])
    assert threading.active_count() == threads
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in small.modules())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


@pytest.mark.parametrize(
    ("batches", "options", "says"),
    [
        (torch.zeros(4, 6), {}, "pass a list of it"),
        ({"x": torch.zeros(4, 6)}, {}, "pass a list of it"),
        ([torch.zeros(4, 6)], {"layers": ["nope"]}, r"names \['nope'\]"),
        ([torch.zeros(4, 6)], {"layers": "a"}, "names a, expected a list"),
    ],
)
def test_slips_are_named(batches: Any, options: dict[str, Any], says: str) -> None:
    """One batch for a list of them, and layers that there are not."""
    model = Picky().eval()
    small, plan = narrowed(model, torch.zeros(1, 6), "a")
    with pytest.raises(ConfigError, match=says):
        ww.heal(small, model, plan, batches, **options)
