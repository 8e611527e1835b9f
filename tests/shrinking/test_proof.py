"""The proof fails when it must, and names the place."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

import widthwise as ww
from cases import BY_NAME
from widthwise import prove
from widthwise.network.inputs import Inputs
from widthwise.shrinking.comparing import telling


def cut(model: nn.Module, image: Tensor) -> tuple[ww.Plan, nn.Module]:
    """Halve a network."""
    graph = ww.trace(model, image)
    plan = ww.plan(graph, score=ww.scores.Random(), budget=ww.Macs(0.5))
    return plan, ww.shrink(model, plan, verify=False)


@pytest.mark.parametrize("name", ["layer1.0.conv2.weight", "layer3.1.bn1.bias", "fc.weight"])
def test_one_wrong_number_is_found_where_it_is(name: str) -> None:
    """One changed output channel fails the proof, and the error names its module."""
    model = torchvision.models.resnet18().eval()
    plan, small = cut(model, torch.zeros(1, 3, 64, 64))
    assert prove(model, small, plan).error < 1e-5
    with torch.no_grad():
        # All inputs: one of them alone may be zero everywhere behind a ReLU.
        small.get_parameter(name)[0] += 0.5
    with pytest.raises(ww.errors.ProofError, match=f"`{name.rpartition('.')[0]}`"):
        prove(model, small, plan)


def test_swapped_channels_are_found() -> None:
    """Right shapes with channels in the wrong order fail the proof."""
    model = torchvision.models.resnet18().eval()
    plan, small = cut(model, torch.zeros(1, 3, 64, 64))
    with torch.no_grad():
        small.layer2[0].conv1.weight.copy_(small.layer2[0].conv1.weight.flip(0))
    with pytest.raises(ww.errors.ProofError, match=r"layer2\.0\.conv1"):
        prove(model, small, plan)


def test_network_that_does_not_run_fails_the_proof() -> None:
    """A narrow network whose shapes do not fit is a failed proof, not a crash."""
    model = torchvision.models.resnet18().eval()
    plan, small = cut(model, torch.zeros(1, 3, 64, 64))
    small.layer1[0].conv2 = nn.Conv2d(5, 7, 3)
    with pytest.raises(ww.errors.ProofError):
        prove(model, small, plan)


def test_a_head_that_starts_at_zero_hides_nothing() -> None:
    """Modules are compared one by one, so an output of zeros proves nothing by itself."""
    model = torchvision.models.resnet18().eval()
    nn.init.zeros_(model.fc.weight)
    plan, small = cut(model, torch.zeros(1, 3, 64, 64))
    with torch.no_grad():
        small.layer1[0].conv1.weight += 1
    with pytest.raises(ww.errors.ProofError, match=r"layer1\.0\.conv1"):
        prove(model, small, plan)


def test_nan_weights_are_not_blamed_on_the_cut() -> None:
    """A network that computes NaN is told so, with the module where it starts."""
    model = torchvision.models.resnet18().eval()
    plan, small = cut(model, torch.zeros(1, 3, 64, 64))
    with torch.no_grad():
        model.layer2[0].bn1.bias.fill_(float("nan"))
        small.layer2[0].bn1.bias.fill_(float("nan"))
    with pytest.raises(ww.errors.ProofError, match=r"itself puts out NaN.*layer2\.0\.bn1"):
        prove(model, small, plan)


def test_proof_says_when_it_computed_on_kept_channels() -> None:
    """A layer norm has no zero-masked twin; a batch norm has."""
    for name, expected in (("layernorm_mlp", True), ("chain", False)):
        case = BY_NAME[name]
        model = case.build()
        plan, small = cut(model, case.example_inputs)
        assert prove(model, small, plan).on_kept_channels is expected


def test_proof_changes_neither_network() -> None:
    """Mode, weights and statistics stay as they are."""
    model = torchvision.models.resnet18().train()
    plan, small = cut(model, torch.zeros(1, 3, 64, 64))
    before = [{k: v.clone() for k, v in m.state_dict().items()} for m in (model, small)]
    prove(model, small, plan)
    assert model.training and small.training
    for state, m in zip(before, (model, small), strict=True):
        assert all(torch.equal(state[k], v) for k, v in m.state_dict().items())


def test_shrink_checks_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """`shrink` proves; `verify=False` does not."""
    import importlib

    module = importlib.import_module("widthwise.shrinking.slicing")

    def wrong(*_: object) -> None:
        raise ww.errors.ProofError("checked")

    monkeypatch.setattr(module, "prove_cut", wrong)
    model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    plan = ww.plan(ww.trace(model, torch.zeros(1, 2)), score=ww.scores.L1(), budget=ww.Macs(0.5))
    with pytest.raises(ww.errors.ProofError, match="checked"):
        ww.shrink(model, plan)
    assert ww.shrink(model, plan, verify=False)[0].out_features == 2


def test_meta_network_is_narrowed_without_a_proof() -> None:
    """Without weights there is nothing to compute with, and nothing to prove."""
    with torch.device("meta"):
        model = torchvision.models.resnet18()
    graph = ww.trace(model, torch.zeros(1, 3, 64, 64))
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    small = ww.shrink(model, plan)
    assert sum(p.numel() for p in small.parameters()) == plan.params()
    assert all(p.is_meta for p in small.parameters())


class _PaddedPool(nn.Module):
    """Pads with minus infinity before a max pool, as networks of TensorFlow do."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        padded = nn.functional.pad(self.first(x), (0, 1, 0, 1), value=float("-inf"))
        return self.last(nn.functional.max_pool2d(padded, 2))


def test_infinite_padding_is_proven() -> None:
    """Equal infinities agree; the finite rest is compared as ever."""
    model = _PaddedPool().eval()
    graph = ww.trace(model, torch.zeros(1, 3, 9, 9))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6))
    small = ww.shrink(model, plan)
    with torch.no_grad():
        small.first.bias.add_(1e-3)
    with pytest.raises(ww.errors.ProofError, match="first"):
        prove(model, small, plan)


# ------------------------------------------------------------------ what it is computed on


class Logarithm(nn.Module):
    """Takes images of light, which is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first((x + 1e-3).log()).relu())


@pytest.mark.parametrize("light", [torch.rand(1, 3, 8, 8), torch.full((1, 3, 8, 8), 0.5)])
def test_the_example_is_what_the_proof_runs_on(light: Tensor) -> None:
    """A network of positive inputs is proven on the positive example, or near a constant one."""
    model = Logarithm()
    plan, small = cut(model, light)
    assert prove(model, small, plan).error < 1e-5


def test_a_constant_example_is_replaced_by_noise() -> None:
    """Zeros would prove nothing about the first weights; the proof says that it drew values."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.Conv2d(8, 4, 1))
    zeros, noise = torch.zeros(1, 3, 8, 8), torch.randn(1, 3, 8, 8)
    for image, drawn in ((zeros, True), (noise, False)):
        plan, small = cut(model, image)
        assert prove(model, small, plan).noise is drawn
        with torch.no_grad():
            small[0].weight.mul_(2)
        with pytest.raises(ww.errors.ProofError, match="`0`"):
            prove(model, small, plan)


@pytest.mark.parametrize("constant", [200.0, -0.5])
def test_noise_has_the_sign_and_the_size_of_a_constant_example(constant: float) -> None:
    """It is drawn around the number that stands in for real values."""
    inputs, drawn = telling(Inputs.of(torch.full((1, 3, 8, 8), constant)))
    ratios = inputs.tensors[0] / constant
    assert drawn
    assert 0.5 <= float(ratios.min()) < 0.6 and 1.4 < float(ratios.max()) <= 1.5


def test_a_plan_from_a_file_is_proven_on_inputs_that_are_passed(tmp_path: Path) -> None:
    """A file holds no example: noise is told from it, and `shrink` and `prove` take another."""
    model, light = Logarithm(), torch.rand(2, 3, 8, 8)
    plan, _ = cut(model, light)
    plan.save(tmp_path / "plan.json")
    loaded = ww.Plan.load(tmp_path / "plan.json")
    with pytest.raises(ww.errors.ProofError, match="example_inputs"):
        ww.shrink(model, loaded)
    small = ww.shrink(model, loaded, example_inputs=light)
    proof = prove(model, small, loaded, example_inputs=light)
    assert (proof.noise, proof.inputs) == (False, "[2, 3, 8, 8] float32")


def test_inputs_that_the_network_refuses_prove_nothing() -> None:
    """Where the full network fails, its narrow copy fails alike: that is no agreement."""
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1))
    plan, small = cut(model, torch.zeros(1, 3, 8, 8))
    with pytest.raises(ww.errors.TraceError, match="forward pass of `Sequential` failed"):
        prove(model, small, plan, example_inputs=torch.zeros(1, 5, 8, 8))


class Halving(nn.Module):
    """Divides by zero where six channels are left, more and fewer than a trace tries."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x * (8 // (x.shape[1] - 6)))


def test_any_exception_of_the_narrow_network_is_a_failed_proof() -> None:
    """What code raises at a width nobody tried comes with the place, not raw."""
    model = Halving()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    kept = graph.everything.copy()
    units = graph.axes["first"].units
    kept[units.start + 6 : units.stop] = False
    with pytest.raises(ww.errors.ProofError, match="raises ZeroDivisionError"):
        ww.shrink(model, ww.Plan.of(graph, kept))


@pytest.mark.parametrize("name", ["chain", "layernorm_mlp"])
def test_the_default_device_does_not_matter(name: str) -> None:
    """Proofs are computed where the weights are, whatever device new tensors are made on."""
    case = BY_NAME[name]
    model, inputs = case.build(), torch.zeros_like(case.example_inputs)
    plan, small = cut(model, inputs)
    with torch.device("meta"):
        assert prove(model, small, plan).error < 1e-5


def test_the_proof_says_what_was_compared() -> None:
    """It prints precision, number of modules, inputs, and what was computed on kept channels."""
    case = BY_NAME["layernorm_mlp"]
    model = case.build()
    plan, small = cut(model, torch.zeros_like(case.example_inputs))
    proof = prove(model, small, plan)
    assert proof.compared[-1] == ""
    leaves = {name for name, module in model.named_modules() if not any(module.children())}
    assert set(proof.compared) == {"", *leaves}
    text = str(proof)
    assert "float32" in text and "noise" in text and "on kept channels" in text
    assert f"{len(proof.compared) - 1} module calls" in text


def test_networks_without_weights_prove_nothing() -> None:
    """On the meta device there is nothing to compute with, and asking for a proof is an error."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    plan, small = cut(model, torch.zeros(1, 2))
    with pytest.raises(ww.errors.ProofError, match="nothing to compute with"):
        prove(model, small, plan)
