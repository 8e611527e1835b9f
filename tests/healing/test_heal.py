"""Healing: exact where algebra allows it, never worse on held-out inputs, on any network."""

from __future__ import annotations

import copy
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._pytree import tree_map

import oracles
import widthwise as ww
from cases import Case, every_case
from strategies import plan_of, random_mask
from widthwise.errors import ConfigError, PlanError, TraceError
from zoo_basic import Head, conv_bn


def images(count: int, seed: int = 0, size: int = 8) -> Tensor:
    """Random images."""
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(seed))


def cut(model: nn.Module, example: Any, keep: float = 0.5, seed: int = 0) -> Any:
    """Cut a network at random; returns what is left, the plan and the kept units."""
    graph = ww.trace(model, example)
    kept = random_mask(graph, np.random.default_rng(seed), keep)
    plan = plan_of(graph, kept)
    return ww.shrink(model, plan, verify=False), plan, kept


class Redundant(nn.Module):
    """Every second channel of a layer is a mixture of the others, so that it can be made up for."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 6, 3, padding=1)
        self.head = nn.Conv2d(6, 2, 1)
        with torch.no_grad():
            mixture = torch.randn(4, 4)
            for parameter in (self.first.weight, self.first.bias):
                parameter[1::2] = torch.tensordot(mixture, parameter[::2], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.second(self.first(x)).relu())


def test_exact_redundancy_is_restored() -> None:
    """What the kept channels hold linearly comes back to 1e-5, borders of the image included."""
    torch.manual_seed(0)
    model = Redundant().eval()
    graph = ww.trace(model, images(1))
    kept = graph.everything.copy()
    kept[graph.axes["first"].units][1::2] = False
    plan = plan_of(graph, kept)
    small = ww.shrink(model, plan)
    fresh = images(16, seed=9)
    with torch.no_grad():
        broken = oracles.relative_error([small(fresh)], [model(fresh)])
        ww.heal(small, model, plan, [images(64, seed) for seed in range(8)])
        healed = oracles.relative_error([small(fresh)], [model(fresh)])
    assert broken > 0.1
    assert healed < 1e-5


def test_a_linear_layer_is_the_least_squares_optimum() -> None:
    """With next to no ridge, weights and bias are those that `lstsq` finds on the same rows."""
    from widthwise.healing.moments import Affine, Moments, fitted

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 300, 5, generator=generator)
    y = torch.randn(2, 300, 3, generator=generator) + x @ torch.randn(2, 5, 3, generator=generator)
    moments = Moments()
    for part in (slice(0, 100), slice(100, 300)):
        moments.add(x[:, part], y[:, part])
    prior = Affine(torch.zeros(2, 3, 5).double(), torch.zeros(2, 3).double())
    found = fitted(moments, prior, 1e-9)
    ones = torch.ones(2, 300, 1)
    expected = torch.linalg.lstsq(torch.cat((x, ones), 2).double(), y.double()).solution
    assert torch.allclose(found.weight, expected[:, :5].transpose(1, 2), atol=1e-5)
    assert found.bias is not None
    assert torch.allclose(found.bias, expected[:, 5], atol=1e-5)
    missed = (y.double() - torch.cat((x, ones), 2).double() @ expected).square().mean()
    assert moments.error(found) == pytest.approx(float(missed), rel=1e-4)


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": 2},
        {"padding": "same"},
        {"dilation": 2, "padding": 2},
        {"padding": 1, "padding_mode": "reflect"},
        {"padding": (2, 1), "bias": False},
    ],
)
def test_patches_are_what_a_convolution_reads(groups: int, options: dict[str, Any]) -> None:
    """The weights times the patches are the outputs at the same places."""
    from widthwise.healing.product import product_of
    from widthwise.healing.rows import rows_made, rows_read

    torch.manual_seed(0)
    layer = nn.Conv2d(4, 8, 3, groups=groups, **options)
    x = torch.randn(2, 4, 13, 11)
    with torch.no_grad():
        made = layer(x)
        patches, targets = (
            rows_read(layer, product_of(layer, x), made.shape, 64),
            rows_made(layer, made, 64),
        )
        made = patches @ layer.weight.reshape(groups, 8 // groups, -1).transpose(1, 2)
        if layer.bias is not None:
            made += layer.bias.reshape(groups, 1, -1)
    assert torch.allclose(made, targets, atol=1e-5)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_patches_of_a_sequence(mode: str) -> None:
    """The same in one dimension, with a stride."""
    from widthwise.healing.product import product_of
    from widthwise.healing.rows import rows_made, rows_read

    torch.manual_seed(0)
    layer = nn.Conv1d(4, 6, 3, stride=2, padding=1, padding_mode=mode)
    x = torch.randn(2, 4, 21)
    with torch.no_grad():
        made = layer(x)
        patches, targets = (
            rows_read(layer, product_of(layer, x), made.shape, 64),
            rows_made(layer, made, 64),
        )
        made = patches @ layer.weight.reshape(1, 6, -1).transpose(1, 2) + layer.bias
    assert torch.allclose(made, targets, atol=1e-5)


class Awkward(nn.Module):
    """A layer called by keyword and twice, in-place work on its outputs, a `try` around it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared = nn.Linear(6, 12), nn.Linear(12, 12)
        self.head = nn.Linear(12, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x).relu()
        for _ in range(2):
            try:
                x = self.shared(input=x).relu_()
            except Exception:
                x = x * 0
        return self.head(x)


class PaddedByItself(nn.Conv2d):
    """A convolution that pads more on one side, as TensorFlow does."""

    def forward(self, x: Tensor) -> Tensor:
        """Pad, and multiply."""
        x = F.pad(x, (0, 1, 0, 1))
        return F.conv2d(x, self.weight, self.bias, self.stride, self.padding, self.dilation)


class Standardised(nn.Conv2d):
    """A convolution whose weights are standardised when it is called."""

    def forward(self, x: Tensor) -> Tensor:
        """Standardise, and multiply."""
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return self._conv_forward(x, weight, self.bias)


class Shifted(nn.Conv2d):
    """A convolution that adds something of its own."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, and add."""
        return super().forward(x) + 1.0


class Scaled(nn.Linear):
    """A linear layer that scales what it makes."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiply, and scale."""
        return 2.0 * super().forward(x)


def test_what_a_layer_with_its_own_forward_multiplies_is_found() -> None:
    """Patches of a layer that pads by itself are of what it has padded."""
    from widthwise.healing.product import product_of
    from widthwise.healing.rows import rows_made, rows_read

    torch.manual_seed(0)
    for layer in (PaddedByItself(4, 6, 3, stride=2), PaddedByItself(4, 6, 3, padding=1)):
        x = torch.randn(2, 4, 12, 12)
        with torch.no_grad():
            made = layer(x)
            product = product_of(layer, x)
            assert product is not None
            patches = rows_read(layer, product, made.shape, 64)
            found = patches @ layer.weight.reshape(1, 6, -1).transpose(1, 2) + layer.bias
        assert torch.allclose(found, rows_made(layer, made, 64), atol=1e-5)
    assert product_of(Shifted(4, 6, 3), x) is None
    assert product_of(Scaled(4, 6), torch.randn(3, 4)) is None


@pytest.mark.parametrize(
    ("reader", "heals"),
    [
        (PaddedByItself(8, 4, 3), True),
        (Standardised(8, 4, 3), False),
        (Shifted(8, 4, 3), False),
    ],
)
def test_layers_with_their_own_forward(reader: nn.Module, heals: bool) -> None:
    """What multiplies the weights that it holds heals; what computes more is left, and said."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), copy.deepcopy(reader)).eval()
    small, plan, _ = cut(model, images(1), 0.6)
    before = copy.deepcopy(small[2].state_dict())
    report = ww.heal(small, model, plan, [images(64)])
    layer = report.layers[1]
    if heals:
        assert layer.what == "weights"
        assert layer.after < 0.95 * layer.before
    else:
        assert layer.what == "nothing: does more than multiply its weights"
        assert all(torch.equal(before[name], each) for name, each in small[2].state_dict().items())


def test_only_some_layers_are_repaired() -> None:
    """Those that are named, with their norms; everything else stays as it was."""
    torch.manual_seed(0)
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1), 0.5)
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    report = ww.heal(small, model, plan, [images(64)])
    paths = [layer.path for layer in report.layers if layer.what == "weights"]
    again = ww.shrink(model, plan, verify=False)
    assert [
        each.path for each in ww.heal(again, model, plan, [images(64)], layers=paths[:1]).layers
    ] == paths[:1]
    changed = {
        name for name, tensor in again.state_dict().items() if not torch.equal(before[name], tensor)
    }
    assert f"{paths[0]}.weight" in changed
    assert not any(name.startswith(path) for name in changed for path in paths[1:])


def test_layers_called_by_keyword_and_twice() -> None:
    """Each call counts, with the outputs that the layer made and not what became of them."""
    torch.manual_seed(0)
    model = Awkward().eval()
    x = torch.randn(256, 6)
    small, plan, _ = cut(model, x[:1], 0.7)
    with torch.no_grad():
        broken = oracles.relative_error([small(x)], [model(x)])
        report = ww.heal(small, model, plan, [x])
        healed = oracles.relative_error([small(x)], [model(x)])
    assert [layer.path for layer in report.layers] == ["stem", "shared", "head"]
    assert healed < broken
    from widthwise.healing.running import visits
    from widthwise.network.inputs import Inputs

    first, _ = visits(model, "shared", 2, Inputs.of(x))
    assert torch.equal(first.made, model.shared(first.given))


def test_too_few_inputs_leave_the_layers_as_they_are() -> None:
    """Of a single image nothing can be held out, and nothing is fitted blindly."""
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1))
    weights = {name: p.clone() for name, p in small.named_parameters()}
    report = ww.heal(small, model, plan, [images(1)])
    assert any("too few inputs" in layer.what for layer in report.layers)
    # Norms behind them are corrected all the same.
    assert {"b.1", "norm"} <= {each.path for each in report.layers if each.what == "statistics"}
    assert all(torch.equal(weights[name], p) for name, p in small.named_parameters())


@every_case(without={"reads_values": "its forward takes another way on other inputs"})
def test_any_network_heals_and_no_layer_gets_worse(case: Case) -> None:
    """Errors on held-out inputs do not grow, the full network and both modes stay as they were."""
    model, inputs = case.build(), case.example_inputs
    model.train()
    small, plan, _ = cut(model, inputs)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    small.eval()

    def moved(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return tree_map(
            lambda t: t + torch.randn(t.shape, generator=generator) if t.is_floating_point() else t,
            inputs,
        )

    report = ww.heal(small, model, plan, [moved(seed) for seed in range(8)], steps=3)
    for layer in report.layers:
        assert not layer.after > layer.before, str(report)
    assert report.refined is not None and not report.refined.after > report.refined.before
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and not small.training
    assert all(bool(tensor.isfinite().all()) for tensor in oracles.outputs(small, inputs))


class Trained(nn.Module):
    """Convolutions with and without batch norm, of which one reads a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 16), conv_bn(16, 16)
        self.norm, self.c, self.head = nn.BatchNorm2d(32), nn.Conv2d(32, 16, 3), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.a(x).relu()
        x = self.norm(torch.cat((x, self.b(x)), 1)).relu()
        return self.head(self.c(x).relu())


def with_statistics(model: nn.Module) -> nn.Module:
    """Take statistics in training mode, then return the network in evaluation mode."""
    model.train()
    with torch.no_grad():
        for seed in range(30):
            model(images(32, seed))
    return model.eval()


def test_healing_brings_the_outputs_closer() -> None:
    """Closer than the cut left them, on inputs that it never saw."""
    torch.manual_seed(0)
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1), 0.7)
    fresh = images(64, seed=99)
    with torch.no_grad():
        broken = oracles.relative_error([small(fresh)], [model(fresh)])
        report = ww.heal(small, model, plan, [images(64, seed) for seed in range(4)])
        healed = oracles.relative_error([small(fresh)], [model(fresh)])
    assert healed < 0.6 * broken
    assert report.inputs == 256
    assert "weights" in str(report)


def test_statistics_are_corrected_not_replaced() -> None:
    """Inputs of another range than those of training leave the statistics of an uncut net alone."""
    torch.manual_seed(0)
    model = with_statistics(Trained())
    graph = ww.trace(model, images(1))
    plan = plan_of(graph, graph.everything)
    small = ww.shrink(model, plan)
    report = ww.heal(small, model, plan, [10 + 3 * images(64)])
    assert all(layer.what == "nothing: reads what it read before" for layer in report.layers)
    assert all(
        torch.equal(tensor, small.state_dict()[name]) for name, tensor in model.state_dict().items()
    )


def read_by(network: nn.Module, path: str, given: Tensor) -> Tensor:
    """Return what a module reads of some inputs."""
    seen: list[Tensor] = []
    handle = network.get_submodule(path).register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    with torch.no_grad():
        network(given)
    handle.remove()
    return seen[0]


def test_statistics_change_as_what_they_describe_has_changed() -> None:
    """Behind a concatenation: means by differences, variances by ratios."""
    torch.manual_seed(0)
    model = with_statistics(Trained())
    small, plan, kept = cut(model, images(1), 0.7)
    given = images(64)
    ww.heal(small, model, plan, [given])
    assert plan.graph is not None
    rows = torch.from_numpy(np.flatnonzero(kept[plan.graph.slots["norm.weight"][0]]))
    wide, narrow = read_by(model, "norm", given)[:, rows], read_by(small, "norm", given)
    norms = [network.get_submodule("norm") for network in (model, small)]
    moved = norms[1].running_mean - norms[0].running_mean[rows]
    assert torch.allclose(moved, narrow.mean((0, 2, 3)) - wide.mean((0, 2, 3)), atol=1e-4)
    assert moved.abs().max() > 1e-3
    ratio = norms[1].running_var / norms[0].running_var[rows]
    variances = [x.var((0, 2, 3), correction=0) + 1e-5 for x in (wide, narrow)]
    assert torch.allclose(ratio, variances[1] / variances[0], rtol=1e-3)


def test_a_norm_behind_a_fitted_layer_takes_the_constant_in() -> None:
    """What comes of both has the means that it has in the full network."""
    torch.manual_seed(0)
    model = with_statistics(Trained())
    small, plan, kept = cut(model, images(1), 0.7)
    given = images(64)
    assert plan.graph is not None
    rows = torch.from_numpy(np.flatnonzero(kept[plan.graph.slots["b.1.weight"][0]]))

    def off() -> float:
        with torch.no_grad():
            wide, narrow = (
                network.b(read_by(network, "b.0", given))[:48].mean((0, 2, 3))
                for network in (model, small)
            )
        return float((wide[rows] - narrow).abs().max())

    broken = off()
    ww.heal(small, model, plan, [given])
    assert off() < 1e-3 < broken


class Residual(nn.Module):
    """Two branches on a trunk, with and without a norm; the trunk's error is there to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.inner = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
        self.outer, self.norm = nn.Conv2d(16, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.last, self.head = nn.Conv2d(8, 8, 3, padding=1), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        trunk = self.stem(x)
        trunk = (trunk + self.norm(self.outer(self.inner(trunk).relu()))).relu_()
        trunk = trunk + self.last(trunk)
        return self.head(trunk.clamp(0, 2))


def test_the_way_of_outputs_is_known() -> None:
    """Which norm reads them, what is added, where they are clipped; and where two read them."""
    from widthwise.healing.repairs import KINDS
    from widthwise.healing.route import Fate, Route
    from widthwise.network.inputs import Inputs

    model = Residual().eval()
    route = Route.of(model, Inputs.of(images(2)), KINDS)
    assert list(route.calls) == ["stem", "inner", "outer", "norm", "last", "head.fc"]
    fates = route.fates
    assert fates["stem"] == Fate()  # A layer and an addition read it.
    assert fates["inner"] == Fate(clip=(0.0, float("inf")))
    assert fates["outer"].norm == "norm" and fates["outer"].clip == (0.0, float("inf"))
    assert fates["outer"].added is not None
    assert fates["last"].added is not None and fates["last"].clip == (0.0, 2.0)
    assert fates["head.fc"] == Fate()


def test_what_is_added_is_made_up_for() -> None:
    """A trunk that misses something gets it back from the next branch, though none was cut."""
    torch.manual_seed(0)
    model = with_statistics(Residual())
    graph = ww.trace(model, images(1))
    kept = graph.everything.copy()
    kept[graph.axes["inner"].units.start] = False
    plan = plan_of(graph, kept)
    small = ww.shrink(model, plan, verify=False)
    with torch.no_grad():
        # As an earlier repair that cannot be exact would leave it.
        small.stem.weight.mul_(0.9)
    fresh = images(64, 99)
    wide = read_by(model, "last", fresh)
    broken = oracles.relative_error([read_by(small, "last", fresh)], [wide])
    report = ww.heal(small, model, plan, [images(64, seed) for seed in range(4)])
    outer = next(layer for layer in report.layers if layer.path == "outer")
    assert outer.after < 0.7 * outer.before
    assert oracles.relative_error([read_by(small, "last", fresh)], [wide]) < 0.7 * broken


def test_what_is_clipped_in_both_need_not_be_fitted() -> None:
    """The best fit in front of `relu` is not the best behind it."""
    from widthwise.healing.pairs import Pair
    from widthwise.healing.running import Visit
    from widthwise.healing.weights import Weights

    torch.manual_seed(0)
    x = torch.randn(4000, 6)
    # Far below zero it is not linear in what is read.
    y = torch.where(x[:, :1] + x[:, 1:2] > 0, x[:, :1] + x[:, 1:2], -9 * x[:, 2:3].square())
    pairs = [
        Pair(held_out, Visit(x[part], y[part]), Visit(x[part], None))
        for held_out, part in ((False, slice(0, 3000)), (True, slice(3000, 4000)))
    ]
    errors = []
    for clip in (None, (0.0, float("inf"))):
        layer = nn.Linear(6, 1)
        found = Weights(layer, None, clip, 4000).apply(pairs, torch.tensor([0]))
        assert found is not None and found[1] < found[0]
        with torch.no_grad():
            errors.append(float((layer(x).relu() - y.relu()).square().mean()))
    assert errors[1] < 0.95 * errors[0]


def test_passes_that_begin_anew_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where memory does not hold all inputs, layers are reached one by one, batch by batch."""
    torch.manual_seed(0)
    model = with_statistics(Residual())
    healed, plan, _ = cut(model, images(1), 0.7)
    again = ww.shrink(model, plan, verify=False)
    # A quarter of each batch is held out; of one batch, the same inputs either way.
    ww.heal(healed, model, plan, [images(64)])
    module = importlib.import_module("widthwise.healing.pairs")
    monkeypatch.setattr(module, "joined", lambda batches, _: [*batches, *batches])
    ww.heal(again, model, plan, [images(64)])
    for name, tensor in healed.state_dict().items():
        assert torch.allclose(tensor, again.state_dict()[name], atol=1e-4), name


class Fours(nn.Module):
    """Takes four images at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Fold the images of a batch into one, and back."""
        x = torch.relu(self.first(x.reshape(4, 3, 8, 8)))
        return self.second(x)


def test_a_network_of_one_batch_size_heals() -> None:
    """Batches that cannot be put together are run one by one, and every layer is repaired."""
    torch.manual_seed(0)
    model = Fours().eval()
    batches = [images(4, seed) for seed in range(16)]
    small, plan, _ = cut(model, images(4), 0.6)
    report = ww.heal(small, model, plan, batches)
    assert report.layers[1].what == "weights"
    assert report.layers[1].after < 0.99 * report.layers[1].before


def test_batches_are_joined_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of one shape become one, others stay apart."""
    from widthwise.healing import pairs
    from widthwise.network.inputs import Inputs

    given = [Inputs.of(each) for each in (images(4), images(2, 1), images(3, 2, size=9))]
    found = pairs.joined(given, 100.0)
    assert [each.batch for each in found] == [6, 3]
    assert torch.equal(found[0].tensors[0], torch.cat((images(4), images(2, 1))))
    monkeypatch.setattr(pairs, "_memory", lambda: 4 * pairs._ALIVE * 100.0)
    assert [each.batch for each in pairs.joined(given, 100.0)] == [4, 2, 3]
    flags = [Inputs.of({"x": images(2), "flag": flag}) for flag in (True, True, False)]
    monkeypatch.undo()
    assert [each.batch for each in pairs.joined(flags, 100.0)] == [4, 2]


@pytest.mark.parametrize(
    ("batches", "error", "says"),
    [
        ([], ConfigError, "no batches"),
        (iter(()), ConfigError, "an iterator that has been read is empty"),
        ([torch.full((4, 3, 8, 8), float("nan"))], ConfigError, "Batch 0 holds values"),
        ([torch.zeros(4, 5, 8, 8)], TraceError, "5, 8, 8"),
        ([(images(4), torch.zeros(4))], TraceError, "positional arguments"),
    ],
)
def test_bad_batches_are_named(batches: Any, error: type[Exception], says: str) -> None:
    """None, NaN, another shape, labels beside the inputs."""
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1))
    before = {name: tensor.clone() for name, tensor in small.state_dict().items()}
    with pytest.raises(error, match=says):
        ww.heal(small, model, plan, batches)
    assert all(torch.equal(before[name], tensor) for name, tensor in small.state_dict().items())


def test_another_network_is_refused() -> None:
    """The full network in the place of the narrow one, or one of another plan."""
    model = with_statistics(Trained())
    _, plan, _ = cut(model, images(1))
    for wrong in (model, cut(model, images(1), 0.2, seed=3)[0]):
        with pytest.raises(PlanError, match=r"`a\.0\.weight` has shape"):
            ww.heal(wrong, model, plan, [images(4)])


def test_a_plan_from_a_file_heals(tmp_path: Path) -> None:
    """What a plan in memory does, one that was saved and loaded does too."""
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1))
    plan.save(tmp_path / "plan.json")
    again = ww.shrink(model, plan)
    ww.heal(small, model, plan, [images(32)])
    ww.heal(again, model, ww.Plan.load(tmp_path / "plan.json"), [images(32)])
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])


def test_few_inputs_are_enough_not_to_harm() -> None:
    """One image: there are fewer rows than weights, and nothing gets worse than it was."""
    torch.manual_seed(0)
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1), 0.7)
    report = ww.heal(small, model, plan, [images(1, seed) for seed in range(4)])
    assert all(not layer.after > layer.before for layer in report.layers)


def test_progress_names_each_layer() -> None:
    """It is called before every layer with how many there are."""
    model = with_statistics(Trained())
    small, plan, _ = cut(model, images(1))
    seen: list[tuple[int, int, str]] = []
    ww.heal(small, model, plan, [images(8)], progress=lambda *args: seen.append(args))
    assert [number for number, _, _ in seen] == list(range(seen[0][1]))
    assert seen[0][2] == "a.0"
