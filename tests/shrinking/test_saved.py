"""Narrow networks as a plan and a safetensors file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

import widthwise as ww
from widthwise.cost import costs_of


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A folder with a narrow ResNet-18, and that network."""
    model = torchvision.models.resnet18()
    graph = ww.trace(model, torch.zeros(1, 3, 64, 64))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.3))
    small = ww.shrink(model, plan, verify=False)
    ww.save(small, plan, tmp_path / "half")
    return tmp_path / "half", small


def test_loads_to_the_same_network(saved: tuple[Path, nn.Module]) -> None:
    """State and outputs are the same, bit for bit."""
    folder, small = saved
    again = ww.load(folder, torchvision.models.resnet18)
    image = torch.randn(1, 3, 64, 64)
    assert torch.equal(again.eval()(image), small.eval()(image))
    assert list(again.state_dict()) == list(small.state_dict())


def test_a_network_in_channels_last_is_saved(saved: tuple[Path, nn.Module], tmp_path: Path) -> None:
    """The order of its weights in memory does not matter to the file."""
    folder, small = saved
    plan = ww.Plan.load(folder / "plan.json")
    ww.save(small.to(memory_format=torch.channels_last), plan, tmp_path / "again")
    files = [path / "model.safetensors" for path in (folder, tmp_path / "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


class Tied(nn.Module):
    """A weight and a statistic under two names each."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2)
        self.b.weight = self.a.weight
        self.a.register_buffer("shift", torch.randn(4))
        self.b.register_buffer("shift", self.a.shift)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(self.b(self.a(x) + self.a.shift) - self.b.shift)


@pytest.fixture
def tied(tmp_path: Path) -> tuple[Path, nn.Module]:
    """A folder with a network that shares tensors, and that network."""
    model = Tied()
    graph = ww.trace(model, torch.zeros(1, 4))
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(1.0))
    small = ww.shrink(model, plan)
    ww.save(small, plan, tmp_path / "tied")
    return tmp_path / "tied", small


def test_shared_weights_are_saved_and_loaded(tied: tuple[Path, nn.Module]) -> None:
    """A tensor with two names loads as one tensor again, parameter or buffer."""
    folder, small = tied
    again = ww.load(folder, Tied)
    assert again.b.weight is again.a.weight
    assert again.b.shift is again.a.shift
    assert [n for n, _ in again.named_parameters()] == [n for n, _ in small.named_parameters()]
    assert sum(p.numel() for p in again.parameters()) == 34
    x = torch.randn(2, 4)
    assert torch.equal(again(x), small(x))


def test_shared_weights_that_differ_in_the_file_are_refused(tied: tuple[Path, nn.Module]) -> None:
    """What is one tensor in the network must be one in the file."""
    folder, small = tied
    small.b.weight = nn.Parameter(small.b.weight.detach() + 1)
    ww.save(small, ww.Plan.load(folder / "plan.json"), folder)
    with pytest.raises(ww.errors.RunError, match=r"a\.weight, b\.weight are one tensor"):
        ww.load(folder, Tied)


def test_shared_weights_may_hold_nan(tied: tuple[Path, nn.Module]) -> None:
    """What diverged is loaded as it was saved: NaN is no sign that one tensor became two."""
    folder, small = tied
    with torch.no_grad():
        small.a.weight[0] = float("nan")
    ww.save(small, ww.Plan.load(folder / "plan.json"), folder)
    again = ww.load(folder, Tied)
    assert again.b.weight is again.a.weight
    assert again.a.weight[0].isnan().all()


def test_buffers_outside_the_state_dict_are_rebuilt(tmp_path: Path) -> None:
    """A buffer that only the constructor makes is there after loading."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 2)
            self.register_buffer("scale", torch.full((1,), 3.0), persistent=False)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.b(self.a(x) * self.scale)

    model = Scaled()
    graph = ww.trace(model, torch.zeros(1, 4))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6))
    small = ww.shrink(model, plan)
    ww.save(small, plan, tmp_path)
    x = torch.randn(2, 4)
    assert torch.equal(ww.load(tmp_path, Scaled)(x), small(x))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_truncated_weights_are_refused(saved: tuple[Path, nn.Module], share: float) -> None:
    """A file that was cut short is an error with the way out."""
    weights = saved[0] / "model.safetensors"
    data = weights.read_bytes()
    weights.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ww.errors.RunError, match="cut short"):
        ww.load(saved[0], torchvision.models.resnet18)


def test_missing_weights_are_named(saved: tuple[Path, nn.Module]) -> None:
    """A folder without weights says which file is missing."""
    (saved[0] / "model.safetensors").unlink()
    with pytest.raises(ww.errors.RunError, match=r"model\.safetensors"):
        ww.load(saved[0], torchvision.models.resnet18)


def test_weights_of_another_plan_are_refused(saved: tuple[Path, nn.Module]) -> None:
    """Plan and weights must come from the same save."""
    model = torchvision.models.resnet18()
    graph = ww.trace(model, torch.zeros(1, 3, 64, 64))
    other = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6))
    other.save(saved[0] / "plan.json")
    with pytest.raises(ww.errors.RunError, match="do not fit the plan"):
        ww.load(saved[0], torchvision.models.resnet18)


def test_factory_of_another_network_is_refused(saved: tuple[Path, nn.Module]) -> None:
    """A factory that builds something else is refused by the plan."""
    with pytest.raises(ww.errors.PlanError, match="another network"):
        ww.load(saved[0], torchvision.models.resnet34)


def test_a_widened_network_is_rebuilt_from_the_users_own_class(tmp_path: Path) -> None:
    """The factory builds the network as it was: the plan widens it, cuts it, and takes weights."""
    model = torchvision.models.mobilenet_v2().eval()
    image = torch.zeros(1, 3, 32, 32)
    full, widen = ww.trace(model, image), ww.rewrites.Widen(1.5)
    wide = ww.widen(model, image, 1.5)
    graph = ww.trace(wide, image)
    draft = ww.plan(graph, score=ww.scores.Random(), budget=ww.Macs(0.5))
    kept = draft.mask(graph)
    plan = ww.Plan.of(graph, kept, before=[widen], full_cost=costs_of(full))
    small = ww.shrink(wide, plan)
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, torchvision.models.mobilenet_v2).eval()
    x = torch.randn(1, 3, 32, 32)
    assert torch.equal(again(x), small.eval()(x))
    assert ww.Plan.load(tmp_path / "plan.json").full_macs == full.macs()
    # The user's own network, cut by the plan alone, has those shapes, too.
    shapes = [p.shape for p in ww.shrink(model, ww.Plan.load(tmp_path / "plan.json")).parameters()]
    assert shapes == [p.shape for p in small.parameters()]


class Repeats(nn.Module):
    """Runs a cell as often as an input says."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.cell, self.last = nn.Linear(5, 12), nn.GRUCell(12, 9), nn.Linear(9, 3)

    def forward(self, x: torch.Tensor, steps: torch.Tensor) -> torch.Tensor:
        hidden = x.new_zeros(x.size(0), self.cell.hidden_size)
        for _ in range(int(steps)):
            hidden = self.cell(self.first(x).relu(), hidden)
        return self.last(hidden)


def test_counts_among_the_inputs_are_saved(tmp_path: Path) -> None:
    """Code that runs as often as an input says is traced again with that number, not with zero."""
    model, inputs = Repeats().eval(), (torch.randn(2, 5), torch.tensor(3))
    plan = ww.plan(ww.trace(model, inputs), score=ww.scores.L1(), budget=ww.Macs(0.8))
    small = ww.shrink(model, plan)
    ww.save(small, plan, tmp_path)
    assert torch.equal(ww.load(tmp_path, Repeats)(*inputs), small(*inputs))
