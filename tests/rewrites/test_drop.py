"""Residual blocks that are dropped: the network is the one in which they are silent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from torch import Tensor, nn

import widthwise as ww
from widthwise.cost import costs_of
from widthwise.models.registry import resolve
from widthwise.rewrites import Drop

IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def resnet20() -> nn.Module:
    """Our own, in evaluation mode."""
    return resolve("widthwise/resnet20").build().eval()


def resnet18() -> nn.Module:
    """That of torchvision, in evaluation mode."""
    return torchvision.models.resnet18().eval()


def blocks_of(model: nn.Module) -> list[str]:
    """Two blocks that keep their shape."""
    modules = model.named_modules()
    blocks = [path for path, module in modules if type(module).__name__ == "BasicBlock"]
    return [blocks[1], blocks[-1]]


@pytest.mark.parametrize("build", [resnet18, resnet20])
def test_a_dropped_block_is_a_silent_one(build) -> None:
    """The result equals, bit for bit, the network whose last norms are zero in those blocks."""
    model = build()
    drop = Drop(blocks_of(model))
    silent = drop.reference(model, IMAGE)
    new = drop.apply(model, IMAGE)
    with torch.no_grad():
        assert torch.equal(new(IMAGE), silent(IMAGE))
        assert not torch.equal(new(IMAGE), model(IMAGE))
        for path in drop.blocks:
            assert isinstance(new.get_submodule(path), nn.Identity)
            norm = model.get_submodule(path).bn2
            norm.weight.zero_()
            norm.bias.zero_()
        assert torch.equal(new(IMAGE), model(IMAGE))


@pytest.mark.parametrize("build", [resnet18, resnet20])
def test_blocks_are_dropped_by_a_plan(build, tmp_path: Path) -> None:
    """A plan drops blocks and narrows the rest, with proof, and its file rebuilds the network."""
    model = build()
    full = ww.trace(model, IMAGE)
    drop = Drop(blocks_of(model))
    new = drop.apply(model, IMAGE)
    graph = ww.trace(new, IMAGE)
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6))
    plan = replace(plan, before=(drop,), graph=None, full_cost=costs_of(full))
    small = ww.shrink(model, plan)
    proof = ww.prove(model, small, plan)
    assert [(rewrite, agreement.error) for rewrite, agreement in proof.before] == [(drop, 0.0)]
    assert plan.full_macs == full.macs() > graph.macs()
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, build)
    with torch.no_grad():
        assert torch.equal(again.eval()(IMAGE), small.eval()(IMAGE))


@pytest.mark.parametrize("build", [resnet18, resnet20])
def test_a_search_goes_on_without_the_blocks(build) -> None:
    """DHP searches the shorter network."""
    model = build()
    new = Drop(blocks_of(model)).apply(model, IMAGE)
    search = ww.methods.dhp(new, IMAGE, budget=ww.Macs(0.5))
    small, plan = search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs
    assert ww.trace(small, IMAGE).macs() == plan.macs()


def test_rewrites_are_done_in_order() -> None:
    """Blocks are dropped, what is left is decomposed, and each step has a proof of its own."""
    model = resnet20()
    steps = (Drop(blocks_of(model)), ww.rewrites.Decompose("*.conv2"))
    new = model
    for step in steps:
        new = step.apply(new, IMAGE)
    plan = ww.plan(ww.trace(new, IMAGE), score=ww.scores.L1(), budget=ww.Macs(0.7))
    plan = replace(plan, before=steps, graph=None)
    proof = ww.prove(model, ww.shrink(model, plan), plan)
    assert [rewrite for rewrite, _ in proof.before] == list(steps)
    assert all(agreement is not None for _, agreement in proof.before)
    assert "`drop` equals its reference" in str(proof)
    wrong = replace(plan, before=steps[:1])
    with pytest.raises(ww.errors.PlanError, match="another network"):
        ww.shrink(model, wrong)


class Block(nn.Module):
    """A pre-activation block: a convolution comes last."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(4), nn.Conv2d(4, 4, 3, padding=1)
        self.scale = nn.Parameter(torch.full((4, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.scale * self.conv(self.norm(x).relu())


class Beside(nn.Module):
    """Has a convolution beside its residual branch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.shortcut = nn.Conv2d(4, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.norm(self.conv(x))


def plan_with(model: nn.Module, drop: Drop) -> ww.Plan:
    """A plan that drops and cuts nothing more."""
    graph = ww.trace(drop.apply(model, IMAGE), IMAGE)
    return replace(ww.Plan.of(graph, graph.everything, before=[drop]), graph=None)


@pytest.mark.parametrize("silence", ["conv", "scale"])
def test_what_ends_a_branch_can_be_said(silence: str) -> None:
    """Silencing a convolution or a learned scale makes a pre-activation block the identity."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), Block(), nn.Conv2d(4, 2, 1))
    drop = Drop("1", silence=silence)
    ww.shrink(model, plan_with(model, drop))
    assert ww.rewrites.from_spec(ww.rewrites.to_spec(drop)) == drop


@pytest.mark.parametrize(("block", "silence"), [(Beside(), None), (Block(), None)])
def test_a_block_that_is_no_identity_when_silent_fails_the_proof(block, silence) -> None:
    """Where something else is left, dropping the block is not what it says."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), block, nn.Conv2d(4, 2, 1))
    with torch.no_grad():
        model[1].norm.bias.add_(1)
    with pytest.raises(ww.errors.ProofError, match=r"`drop` differs from its reference.*`2`"):
        ww.shrink(model, plan_with(model, Drop("1", silence=silence)))


class Two(nn.Module):
    """A block of two inputs, and one nobody calls."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.both, self.unused = nn.Conv2d(3, 4, 1), Both(), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.both(x, x)


class Both(nn.Module):
    """Normalises the sum of two inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.norm(x + y)


@pytest.mark.parametrize(
    ("model", "drop", "reason"),
    [
        (
            resnet18(),
            Drop("layer2.0"),
            r"its input is \[1, 64, 8, 8\], its output \[1, 128, 4, 4\]",
        ),
        (resnet18(), Drop("layer1.0.relu"), "nothing to silence"),
        (resnet18(), Drop("layer1.1", silence="bn7"), "no `bn7` with a weight"),
        (Two(), Drop("both"), "takes 2 tensors and returns 1"),
        (Two(), Drop("unused"), "does not call it"),
    ],
)
def test_what_cannot_be_dropped_is_refused_with_the_reason(model, drop, reason) -> None:
    """Every block is listed with why, by `apply` and by `reference` alike."""
    for refuse in (drop.apply, drop.reference):
        with pytest.raises(ww.errors.ConfigError, match=reason):
            refuse(model, IMAGE)


def test_a_network_without_weights_loses_its_blocks() -> None:
    """On the meta device blocks are checked by their shapes, and dropped."""
    with torch.device("meta"):
        model = resnet18()
    new = Drop("layer?.1").apply(model, IMAGE)
    kinds = [type(new.get_submodule(f"layer{i}.1")) for i in (1, 2, 3, 4)]
    assert kinds == [nn.Identity] * 4
