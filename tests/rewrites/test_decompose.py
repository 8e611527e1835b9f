"""Convolutions that become two: nothing changes but that their ranks are axes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

import widthwise as ww
from widthwise.models.registry import resolve
from widthwise.rewrites import Decompose, Kind

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def resnet20() -> nn.Module:
    """Our own, in evaluation mode."""
    return resolve("widthwise/resnet20").build().eval()


def resnet18() -> nn.Module:
    """That of torchvision, in evaluation mode."""
    return torchvision.models.resnet18().eval()


@pytest.mark.parametrize("build", [resnet18, resnet20])
def test_the_identity_start_changes_no_bit(build) -> None:
    """Every layer of two convolutions computes what one did; the network it came from stays."""
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    new = Decompose("*.conv2").apply(model, IMAGE)
    with torch.no_grad():
        assert torch.equal(new(IMAGE), model(IMAGE))
    assert len(list(new.modules())) > len(list(model.modules()))
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_singular_values_start_from_orthonormal_filters() -> None:
    """The first convolution has orthonormal filters, and the pair multiplies to the weight."""
    conv = nn.Conv2d(4, 6, 3, stride=2, padding=1)
    model = nn.Sequential(conv)
    pair = Decompose("0", Kind.SVD).apply(model, IMAGE)[0]
    filters = pair[0].weight.detach().flatten(1)
    assert torch.allclose(filters @ filters.T, torch.eye(6), atol=1e-5)
    product = pair[1].weight.detach().flatten(1) @ filters
    assert torch.allclose(product, conv.weight.detach().flatten(1), atol=1e-6)
    x = torch.randn(2, 4, 9, 9)
    assert torch.allclose(pair(x), conv(x), atol=1e-5)


def test_a_layer_with_few_inputs_has_their_rank() -> None:
    """Three inputs through one tap have rank three, whatever the number of outputs."""
    model = nn.Sequential(nn.Conv2d(3, 8, 1))
    assert Decompose("0", Kind.SVD).apply(model, IMAGE)[0][0].out_channels == 3
    assert Decompose("0").apply(model, IMAGE)[0][0].out_channels == 8


def test_a_rank_gives_the_closest_layer_of_that_rank() -> None:
    """The error is that of the singular values left out; such a network equals no reference."""
    conv = nn.Conv2d(4, 6, 3, bias=False)
    decompose = Decompose("0", Kind.SVD, rank=2)
    pair = decompose.apply(nn.Sequential(conv), IMAGE)[0]
    weight = conv.weight.detach().flatten(1)
    rest = weight - pair[1].weight.detach().flatten(1) @ pair[0].weight.detach().flatten(1)
    expected = torch.linalg.svdvals(weight)[2:].norm()
    assert float(rest.norm()) == pytest.approx(float(expected), rel=1e-4)
    assert decompose.reference(nn.Sequential(conv), IMAGE) is None


@pytest.mark.parametrize("kind", list(Kind))
def test_the_bias_survives_every_cut_of_the_rank(kind: Kind) -> None:
    """It is on the second convolution, whose outputs the rank does not touch."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 1))
    new = Decompose(["0"], kind).apply(model, IMAGE)
    assert new[0][0].bias is None
    assert torch.equal(new[0][1].bias, model[0].bias)
    assert new[0][1].bias is not model[0].bias
    axes = ww.trace(new, IMAGE).axes
    assert ("0.1.bias", 0) not in axes["0.0"].members


@pytest.mark.parametrize("build", [resnet18, resnet20])
@pytest.mark.parametrize("kind", list(Kind))
def test_ranks_are_planned_proven_saved_and_loaded(build, kind: Kind, tmp_path: Path) -> None:
    """Only ranks are cut, by a plan that says so; its file rebuilds the network from the class."""
    model, decompose = build(), Decompose("*.conv2", kind)
    new = decompose.apply(model, IMAGE)
    graph = ww.trace(new, IMAGE)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.7), include=["*.conv2.0"])
    plan = replace(plan, before=(decompose,), graph=None)
    small = ww.shrink(model, plan)
    proof = ww.prove(model, small, plan)
    assert [rewrite for rewrite, _ in proof.before] == [decompose]
    assert proof.before[0][1].error < 1e-5
    ww.save(small, plan, tmp_path)
    assert ww.Plan.load(tmp_path / "plan.json").before == (decompose,)
    again = ww.load(tmp_path, build)
    with torch.no_grad():
        assert torch.equal(again.eval()(IMAGE), small.eval()(IMAGE))


@pytest.mark.parametrize("build", [resnet18, resnet20])
def test_a_search_goes_through_ranks(build) -> None:
    """DHP on the decomposed network ends proven, with every rank an axis of its own."""
    model = Decompose("*.conv2").apply(build(), IMAGE)
    search = ww.methods.dhp(model, IMAGE, budget=ww.Macs(0.6), include=["*.conv2.0"])
    small, plan = search.finish()
    ranks = [name for name in plan.axes if name.endswith(".conv2.0")]
    assert len(ranks) in (8, 9)
    assert plan.macs() <= 0.6 * plan.full_macs
    assert any(len(plan.axes[name].kept) < plan.axes[name].width for name in ranks)
    assert ww.trace(small, IMAGE).macs() == plan.macs()


def test_a_wrong_pair_fails_the_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rewrite that is not what it says is found before anything is cut."""
    model = resnet20()
    decompose = Decompose("*.conv2")
    new = decompose.apply(model, IMAGE)
    graph = ww.trace(new, IMAGE)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.7))
    plan = replace(plan, before=(decompose,), graph=None)
    right = Decompose._factors

    def wrong(self: Decompose, weight: Tensor) -> tuple[Tensor, Tensor]:
        first, second = right(self, weight)
        return first * 1.001, second

    monkeypatch.setattr(Decompose, "_factors", wrong)
    with pytest.raises(ww.errors.ProofError, match="`decompose` differs from its reference"):
        ww.shrink(model, plan)
    ww.shrink(model, plan, verify=False)


def test_the_random_state_stays() -> None:
    """Nothing is drawn."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3))
    state = torch.get_rng_state()
    Decompose("0", Kind.SVD).apply(model, IMAGE)
    assert torch.equal(torch.get_rng_state(), state)


def resnet20_meta() -> nn.Module:
    """Our ResNet-20 without weights."""
    with torch.device("meta"):
        return resnet20()


def test_a_network_without_weights_gets_the_same_shapes() -> None:
    """Shapes on the meta device are those with weights, for both starts."""
    for kind in Kind:
        decompose = Decompose("*.conv*", kind)
        real, bare = decompose.apply(resnet20(), IMAGE), decompose.apply(resnet20_meta(), IMAGE)
        assert [p.shape for p in real.parameters()] == [p.shape for p in bare.parameters()]
        assert all(p.is_meta for p in bare.parameters())


class Scaled(nn.Conv2d):
    """Draws its weights in its own way, and computes what a convolution computes."""

    def __init__(self, *sizes: int) -> None:
        super().__init__(*sizes)
        nn.init.normal_(self.weight)


class Standardised(nn.Conv2d):
    """Computes with other weights than it stores."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(), self.bias)


class Odd(nn.Module):
    """Everything that cannot be decomposed."""

    def __init__(self) -> None:
        super().__init__()
        self.grouped = nn.Conv2d(4, 4, 3, groups=2)
        self.transposed = nn.ConvTranspose2d(4, 4, 3)
        self.linear = nn.Linear(4, 4)
        self.first, self.second = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)
        self.second.weight = self.first.weight
        self.standardised = Standardised(4, 4, 3)
        self.normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(4, 4, 3))


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("grouped", "has groups"),
        ("transposed", "ConvTranspose2d.*not an ordinary convolution"),
        ("linear", "Linear.*not an ordinary convolution"),
        ("first", "shares its weight"),
        ("standardised", "Standardised.*not an ordinary convolution"),
        ("normed", "ParametrizedConv2d.*not an ordinary convolution"),
    ],
)
def test_what_cannot_be_decomposed_is_refused_with_the_reason(path: str, reason: str) -> None:
    """Each reason names the module; a glob leaves out what is no convolution."""
    with pytest.raises(ww.errors.ConfigError, match=rf"`{path}`: .*{reason}"):
        Decompose([path]).apply(Odd(), IMAGE)


def test_a_convolution_of_the_users_own_class_is_one_if_it_computes_as_one() -> None:
    """Only its constructor differs: its parts are plain convolutions, and nothing changes."""
    net = nn.Sequential(Scaled(3, 6, 3), nn.ReLU())
    two = Decompose("0", Kind.SVD).apply(net, IMAGE)
    assert [type(part) for part in two[0]] == [nn.Conv2d, nn.Conv2d]
    torch.testing.assert_close(two(IMAGE), net(IMAGE))


def test_names_and_ranks_that_mean_nothing_are_refused() -> None:
    """A name that matches nothing says what is near; a rank needs singular values."""
    with pytest.raises(ww.errors.ConfigError, match=r"nearest: layer1\.0\.conv2"):
        Decompose("layer1.0.conv22").apply(resnet18(), IMAGE)
    for kind, rank in ((Kind.IDENTITY, 4), (Kind.SVD, 0)):
        with pytest.raises(ww.errors.ConfigError, match="rank"):
            Decompose("*.conv2", kind, rank)


def test_a_layer_that_is_used_twice_is_replaced_twice() -> None:
    """One module under two names stays one."""
    conv = nn.Conv2d(4, 4, 3, padding=1)
    model = nn.Sequential(conv, nn.ReLU(), conv)
    new = Decompose("0").apply(model, IMAGE)
    assert new[0] is new[2]
    assert isinstance(new[0], nn.Sequential)
    x = torch.randn(1, 4, 6, 6)
    assert torch.allclose(new(x), model(x), atol=1e-6)
