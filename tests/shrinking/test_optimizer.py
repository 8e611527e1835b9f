"""An optimizer that is taken over the cut goes on as if the network had always been narrow."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import PlanError

IMAGES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Module:
    """Two convolutions and a normalisation; the first is 8 wide."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 3), nn.Flatten()
    )


def step(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    optimizer.zero_grad()
    model(IMAGES).square().mean().backward()
    optimizer.step()


def cut(model: nn.Module) -> tuple[nn.Module, ww.Plan]:
    plan = ww.plan(ww.trace(model, IMAGES[:1]), score=ww.scores.L1(), budget=ww.Macs(0.5))
    return ww.shrink(model, plan), plan


@pytest.mark.parametrize(
    "build",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=1e-4),
        lambda p: torch.optim.AdamW(p, lr=0.01),
        lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, fused=True),
        lambda p: torch.optim.AdamW(p, lr=0.01, foreach=True),
    ],
    ids=["sgd", "adamw", "amsgrad", "fused", "foreach"],
)
def test_a_carried_optimizer_steps_like_one_of_the_masked_network(build) -> None:
    """The next step of the narrow network is that of the wide one with removed channels unread."""
    model = network()
    optimizer = build(model.parameters())
    for _ in range(3):
        step(model, optimizer)
    small, plan = cut(model)
    kept = plan.kept["0"]
    wide = network()
    wide.load_state_dict(model.state_dict())
    wide_optimizer = build(wide.parameters())
    wide_optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    gone = [i for i in range(8) if i not in kept.tolist()]
    with torch.no_grad():
        wide[3].weight[:, gone] = 0
    ww.carry_optimizer(optimizer, model, small, plan)
    step(small, optimizer)
    step(wide, wide_optimizer)
    assert torch.allclose(small[0].weight, wide[0].weight[kept], atol=1e-7)
    assert torch.allclose(small[3].weight, wide[3].weight[:, kept], atol=1e-7)
    fresh, _ = cut(model)
    step(fresh, build(fresh.parameters()))
    assert not torch.allclose(fresh[0].weight, small[0].weight, atol=1e-4)


def test_momentum_of_kept_units_survives_the_cut() -> None:
    """The carried momentum is the old one at the kept indices, along both dims of a weight."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step(model, optimizer)
    before = {
        name: optimizer.state[parameter]["momentum_buffer"].clone()
        for name, parameter in model.named_parameters()
    }
    small, plan = cut(model)
    ww.carry_optimizer(optimizer, model, small, plan)
    kept = plan.kept["0"]
    expected = {
        "0.weight": before["0.weight"][kept],
        "0.bias": before["0.bias"][kept],
        "1.weight": before["1.weight"][kept],
        "1.bias": before["1.bias"][kept],
        "3.weight": before["3.weight"][:, kept],
        "3.bias": before["3.bias"],
    }
    for name, parameter in small.named_parameters():
        momentum = optimizer.state[parameter]["momentum_buffer"]
        assert torch.equal(momentum, expected[name]), name


def test_factored_second_moments_are_cut_along_the_dims_they_have() -> None:
    """Adafactor keeps a row and a column per weight; both go along, and the next step runs."""
    model = network()
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    step(model, optimizer)
    before = {key: value.clone() for key, value in optimizer.state[model[3].weight].items()}
    assert before["row_var"].shape == (2, 8, 3, 1)
    small, plan = cut(model)
    ww.carry_optimizer(optimizer, model, small, plan)
    after = optimizer.state[small[3].weight]
    kept = plan.kept["0"]
    assert torch.equal(after["row_var"], before["row_var"][:, kept])
    assert torch.equal(after["col_var"], before["col_var"][:, kept])
    step(small, optimizer)


def test_factors_of_a_linear_layer_are_cut_along_one_dim_each() -> None:
    """The row's factor has no columns, so a cut of columns leaves it as it is."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4))
    optimizer = torch.optim.Adafactor(model.parameters(), lr=0.01)
    inputs = torch.randn(4, 6)
    model(inputs).square().mean().backward()
    optimizer.step()
    before = {key: value.clone() for key, value in optimizer.state[model[2].weight].items()}
    plan = ww.plan(ww.trace(model, inputs), score=ww.scores.L1(), budget=ww.Macs(0.5))
    small = ww.shrink(model, plan)
    ww.carry_optimizer(optimizer, model, small, plan)
    after = optimizer.state[small[2].weight]
    assert torch.equal(after["row_var"], before["row_var"])
    assert torch.equal(after["col_var"], before["col_var"][:, plan.kept["0"]])
    small(inputs).square().mean().backward()
    optimizer.step()


class Sketch(torch.optim.Optimizer):
    """Keeps a tensor per weight that says nothing about channels."""

    def __init__(self, parameters) -> None:
        super().__init__(parameters, {"lr": 0.1})

    def step(self, closure=None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state.setdefault("sketch", torch.zeros(parameter.numel()))
                state["sketch"] += parameter.grad.flatten()


def test_state_that_cannot_be_cut_is_dropped_with_a_warning() -> None:
    """Parameters that are narrowed start without; those that stay whole keep all of it."""
    model = network()
    optimizer = Sketch(model.parameters())
    step(model, optimizer)
    bias = optimizer.state[model[3].bias]["sketch"].clone()
    small, plan = cut(model)
    with pytest.warns(UserWarning, match=r"Sketch has for 0\.weight, 3\.weight cannot"):
        ww.carry_optimizer(optimizer, model, small, plan)
    assert small[0].weight not in optimizer.state
    assert torch.equal(optimizer.state[small[3].bias]["sketch"], bias)
    step(small, optimizer)


def test_an_optimizer_of_something_else_is_refused_untouched() -> None:
    """The error says what to pass, and the optimizer keeps its parameters."""
    model = network()
    small, plan = cut(model)
    other = network()
    optimizer = torch.optim.SGD(other.parameters(), lr=0.1)
    with pytest.raises(PlanError, match="holds no parameter"):
        ww.carry_optimizer(optimizer, model, small, plan)
    assert optimizer.param_groups[0]["params"] == list(other.parameters())


def test_a_search_takes_its_optimizer_along() -> None:
    """After `finish(optimizer)` it trains the narrow network; latents are gone from it."""
    model = network()
    search = ww.methods.dhp(model, IMAGES[:1], budget=ww.Macs(0.5))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step(model, optimizer)
    search.step(optimizer)
    momentum = optimizer.state[model[1].weight]["momentum_buffer"].clone()
    small, plan = search.finish(optimizer)
    held = [p for group in optimizer.param_groups for p in group["params"]]
    assert [id(p) for p in held] == [id(p) for p in small.parameters()]
    carried = optimizer.state[small[1].weight]["momentum_buffer"]
    assert torch.equal(carried, momentum[plan.kept["0"]])
    before = small[0].weight.detach().clone()
    step(small, optimizer)
    assert not torch.equal(small[0].weight, before)
