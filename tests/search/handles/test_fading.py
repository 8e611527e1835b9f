"""Gates that a schedule closes: which ones, when, and what is lost by the cut."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD, Optimizer

import widthwise as ww
from cases import every_case
from widthwise.errors import ConfigError, SearchError
from widthwise.search.handles import Fading
from widthwise.search.limits import Limits
from widthwise.search.marginal import marginal_costs

IMAGE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
HALF = ww.Macs(0.5)


def net() -> nn.Sequential:
    """Axes of 6 and 8 channels, one with a normalisation, and the output."""
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)),
    )


def train(model: nn.Module, search: ww.methods.Search, optimizer: Optimizer, steps: int) -> None:
    """Teach a network to give twos."""
    for _ in range(steps):
        optimizer.zero_grad()
        functional.mse_loss(model(IMAGE), torch.full((4, 2, 4, 4), 2.0)).backward()
        optimizer.step()
        search.step(optimizer)


def started(**options) -> tuple[nn.Sequential, ww.methods.Search, Optimizer]:
    """A search of ten steps on a new network."""
    model = net()
    search = ww.methods.fade(model, IMAGE, budget=HALF, **{"steps": 10, **options})
    return model, search, SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=0.1)


def test_gates_start_at_one_and_stay_there_until_units_are_chosen() -> None:
    """Neither the optimizer nor its weight decay moves them."""
    model, search, optimizer = started(warm_up=0.5)
    assert torch.equal(model(IMAGE), net()(IMAGE))
    train(model, search, optimizer, 4)
    assert search.handle.staying is None
    assert torch.equal(search.handle.gates, torch.ones_like(search.handle.gates))
    train(model, search, optimizer, 1)
    assert 0 < (~search.handle.staying).sum() < len(search.handle.staying)


def test_gates_close_in_a_straight_line_and_are_closed_at_the_last_step() -> None:
    """Those of the units that go, by the same distance in every step; the others stay open."""
    _, search, optimizer = started(warm_up=0.1)
    gates, heights = search.handle.gates, []
    # The same units matter throughout, so no review brings any back.
    gates.grad = torch.arange(1.0, len(gates) + 1)
    for _ in range(10):
        search.step(optimizer)
        heights.append(gates.detach().clone())
    staying = torch.from_numpy(search.handle.staying)
    assert torch.equal(heights[-1], staying.float())
    faded = torch.stack(heights)[:, ~staying]
    assert faded.numel()
    expected = torch.linspace(0.9, 0, 10)[:, None].expand_as(faded)
    torch.testing.assert_close(faded, expected)


def test_what_has_faded_is_cut_without_a_loss() -> None:
    """The narrow network computes what the searched one did, and meets the budget."""
    model, search, optimizer = started()
    train(model, search, optimizer, 10)
    model.eval()
    before = model(IMAGE)
    small, plan = search.finish(optimizer)
    torch.testing.assert_close(small.eval()(IMAGE), before, rtol=1e-5, atol=1e-6)
    assert 0.4 < plan.macs() / plan.full_macs <= 0.5
    assert plan.method == "fade"


def test_units_are_chosen_by_what_they_matter_over_what_they_cost() -> None:
    """Against gates of our own: squared gradients, with a width's share, over marginal costs."""
    model, search, optimizer = started(steps=4, warm_up=0.5, memory=0.0)
    own = net()
    sums = np.zeros(search.graph.unit_count)
    functional.mse_loss(own(IMAGE), torch.full((4, 2, 4, 4), 2.0)).backward()
    for reader, axis in ((own[3], "0"), (own[5], "3")):
        product = (reader.weight * reader.weight.grad).sum((0, 2, 3))
        sums[search.graph.axes[axis].units] = product.detach().numpy()
    cost = marginal_costs(search.graph, search.graph.everything, [HALF], Limits())
    train(model, search, optimizer, 1)
    for axis in ("0", "3"):
        units = search.graph.axes[axis].units
        order = np.argsort(-np.square(sums[units]))
        left = np.empty(len(order))
        left[order] = np.arange(1, len(order) + 1)
        expected = np.square(sums[units] * len(order) / left) / cost[units]
        found = search.handle.worth()[units]
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-9)


def test_what_a_unit_costs_is_looked_up_where_the_plan_stands() -> None:
    """Beside a narrower layer a unit costs less, so it is worth more for the same gradient."""
    _, search, optimizer = started(warm_up=0.5, memory=0.0)
    gates = search.handle.gates
    gates.grad = torch.arange(1.0, len(gates) + 1)
    units = search.graph.axes["3"].units
    for _ in range(4):
        search.step(optimizer)
    before = search.handle.worth()[units]
    search.step(optimizer)
    assert not search.handle.staying[search.graph.axes["0"].units].all()
    here = marginal_costs(search.graph, search.handle.staying, [HALF], Limits())[units]
    full = marginal_costs(search.graph, search.graph.everything, [HALF], Limits())[units]
    ratio = before / search.handle.worth()[units]
    assert (here / full < ratio).all(), "the costs of two plans are averaged"
    assert (ratio < 1).all()


class Two(nn.Module):
    """Two branches of which the loss needs one."""

    def __init__(self) -> None:
        super().__init__()
        self.needed, self.idle = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 8, 1)
        self.head, self.noise = nn.Conv2d(8, 2, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.needed(x).relu()) + 1e-4 * self.noise(self.idle(x).relu())


def test_what_the_loss_does_not_need_goes() -> None:
    """Of two branches of the same cost, nearly all of the one that matters stays."""
    torch.manual_seed(0)
    model = Two()
    search = ww.methods.fade(model, IMAGE, budget=HALF, steps=20)
    optimizer = SGD(model.parameters(), lr=0.01)
    for _ in range(20):
        optimizer.zero_grad()
        functional.mse_loss(model(IMAGE), IMAGE[:, :2] - IMAGE[:, 2:]).backward()
        optimizer.step()
        search.step(optimizer)
    _, plan = search.finish(optimizer)
    assert plan.widths["needed"] >= 6
    assert plan.widths["idle"] <= 2


def test_a_unit_that_turns_out_to_be_needed_comes_back() -> None:
    """Its gate has a gradient while it fades; at the next review it is chosen and opens again."""
    _, search, optimizer = started(steps=40, warm_up=0.1)
    handle = search.handle
    units = search.graph.axes["0"].units

    def matter(values: Tensor, steps: int) -> None:
        for _ in range(steps):
            handle.gates.grad = torch.ones_like(handle.gates)
            handle.gates.grad[units] = values
            search.step(optimizer)

    rising = torch.arange(1.0, 7.0)
    matter(rising, 8)
    first = handle.staying[units].copy()
    assert not first[0]
    assert 0 < handle.gates[units][0] < 1
    matter(100 * rising.flip(0), 32)
    assert handle.staying[units][0]
    assert handle.gates[units][0] == 1
    assert set(handle.gates.tolist()) == {0.0, 1.0}


def test_a_gradient_that_is_not_finite_is_not_noted() -> None:
    """Mixed precision skips such a step; the schedule goes on."""
    model, search, optimizer = started(warm_up=0.9)
    train(model, search, optimizer, 2)
    before = search.handle.worth()
    search.handle.gates.grad[0] = float("nan")
    search.step(optimizer)
    np.testing.assert_array_equal(search.handle.worth(), before)


def test_a_step_needs_a_gradient() -> None:
    """One that comes after `zero_grad` says so."""
    _, search, optimizer = started()
    with pytest.raises(SearchError, match=r"before `optimizer\.zero_grad"):
        search.step(optimizer)


@pytest.mark.parametrize(
    ("option", "value"),
    [("steps", 0), ("warm_up", 1.0), ("warm_up", -0.1), ("memory", 1.0), ("memory", float("nan"))],
)
def test_numbers_out_of_range_are_named(option: str, value: float) -> None:
    """Before anything is attached."""
    model = net()
    with pytest.raises(ConfigError, match=f"`{option}`"):
        ww.methods.fade(model, IMAGE, budget=HALF, **{"steps": 10, option: value})
    assert type(model[0]) is nn.Conv2d


def test_nothing_to_gate_is_said() -> None:
    """Weights that are not trained have no gates."""
    with pytest.raises(SearchError, match="nothing that could have a gate"):
        ww.methods.fade(net().requires_grad_(False), IMAGE, budget=HALF, steps=10)


@every_case(where=lambda case: case.free)
def test_on_any_network_a_plan_comes_out(case) -> None:
    """Every network of the zoo is searched to a cost that its gated axes reach, or refused."""
    model = case.build()
    graph = ww.trace(model, case.example_inputs)
    try:
        handle = Fading(graph, model, budgets=[ww.Params(1.0)], limits=Limits(), steps=4)
    except SearchError as error:
        assert "could have a gate" in str(error)
        return
    handle.attach()
    optimizer = SGD(model.parameters(), lr=0.0)
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        handle.gates.grad = torch.rand(handle.gates.shape, generator=generator)
        handle.step(optimizer)
    assert (handle.staying == graph.everything).all(), "the budget has room for everything"
    assert (handle.alive() == graph.everything).all()
