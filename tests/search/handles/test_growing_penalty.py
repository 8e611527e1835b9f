"""A penalty that grows: whom it is on, how fast, and that the others are left alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import SGD

import widthwise as ww
from widthwise.errors import ConfigError, SearchError
from widthwise.models import resolve

IMAGE = torch.zeros(1, 3, 8, 8)
HALF = ww.Macs(0.5)


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU()),
        *(nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)),
    )


def step(search: ww.methods.Search, optimizer: torch.optim.Optimizer, steps: int = 1) -> None:
    """Steps without a gradient: what moves, the search has moved."""
    for _ in range(steps):
        search.step(optimizer)


def test_the_units_that_go_are_those_of_the_score_under_the_budget() -> None:
    """What a one-shot plan would remove, chosen at the first step, is what is cut in the end."""
    model = net()
    expected = ww.plan(ww.trace(model, IMAGE), score=ww.scores.L1(), budget=HALF)
    search = ww.methods.growing_reg(model, IMAGE, budget=HALF)
    assert search.handle.leaving is None
    assert search.handle.alive().all()
    step(search, SGD(model.parameters(), lr=0.1))
    np.testing.assert_array_equal(~search.handle.leaving, expected.mask(search.graph))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()  # Training may turn every order round.
    _, plan = search.finish()
    for name, kept in expected.kept.items():
        np.testing.assert_array_equal(plan.kept[name], kept)


def test_any_score_may_choose() -> None:
    """The one that is given, and nothing that is none."""
    model = net()

    def last_first(graph: ww.ChannelGraph) -> np.ndarray:
        return -np.arange(graph.unit_count, dtype=float)

    search = ww.methods.growing_reg(model, IMAGE, budget=HALF, score=last_first)
    _, plan = search.finish()
    for name, kept in plan.kept.items():
        assert kept.tolist() == list(range(plan.widths[name]))
    with pytest.raises(ConfigError, match="Expected a score"):
        ww.methods.growing_reg(model, IMAGE, budget=HALF, score="l1")


def test_the_penalty_grows_by_steps_to_its_ceiling() -> None:
    """By ``growth`` every ``grow_every`` steps."""
    model = net()
    search = ww.methods.growing_reg(
        model, IMAGE, budget=HALF, growth=0.1, grow_every=2, ceiling=0.25
    )
    optimizer = SGD(model.parameters(), lr=0.1)
    found = []
    for _ in range(8):
        step(search, optimizer)
        found.append(search.handle.penalty)
    assert found == pytest.approx([0, 0.1, 0.1, 0.2, 0.2, 0.25, 0.25, 0.25])


def test_every_weight_of_a_leaving_unit_shrinks_and_no_other() -> None:
    """Filters, what reads them, biases, scales and shifts; twice between two that leave."""
    model = net()
    search = ww.methods.growing_reg(model, IMAGE, budget=HALF, growth=0.5, grow_every=1)
    with torch.no_grad():
        model[1].bias.normal_()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    step(search, SGD(model.parameters(), lr=0.2))
    leaving = torch.from_numpy(search.handle.leaving).float()
    first, second = (leaving[search.graph.axes[name].units] for name in ("0", "3"))
    assert 0 < first.sum() < 6
    assert 0 < second.sum() < 8
    times = {
        "0.weight": first[:, None, None, None],
        "0.bias": first,
        "1.weight": first,
        "1.bias": first,
        "3.weight": second[:, None, None, None] + first[:, None, None],
        "3.bias": second,
        "5.weight": second[:, None, None],
        "5.bias": torch.zeros(2),
    }
    for name, parameter in model.named_parameters():
        expected = before[name] / (1 + 0.2 * 0.5 * times[name])
        torch.testing.assert_close(parameter.detach(), expected)


def test_a_unit_counts_as_removed_when_little_is_left_of_it() -> None:
    """Relative to the norm it had at the start; the cost follows."""
    model = net()
    search = ww.methods.growing_reg(
        model, IMAGE, budget=HALF, growth=100.0, ceiling=1e3, grow_every=1, prune_threshold=0.1
    )
    optimizer = SGD(model.parameters(), lr=1e-5)
    step(search, optimizer)
    assert search.cost_alive()["macs"] == search.graph.macs()
    optimizer.param_groups[0]["lr"] = 1.0
    step(search, optimizer)
    assert search.cost_alive()["macs"] <= 0.5 * search.graph.macs()
    importance = search.handle.importance()
    assert importance[search.handle.leaving].max() < 0.1
    assert importance[~search.handle.leaving].min() > 1


def test_faded_units_can_be_cut_without_a_loss() -> None:
    """Unlike those of a one-shot cut: the narrow network computes what the whole one did."""
    torch.manual_seed(0)
    model = resolve("widthwise/resnet20").build().train()
    images = torch.randn(16, 3, 16, 16)
    labels = torch.arange(16) % 10
    search = ww.methods.growing_reg(
        model, images[:1], budget=HALF, growth=0.5, grow_every=1, ceiling=20.0
    )
    optimizer = SGD(model.parameters(), lr=0.02, momentum=0.9)
    for _ in range(40):
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        search.step(optimizer)
    whole = model.eval()(images).detach()
    at_once = ww.plan(ww.trace(model, images[:1]), score=ww.scores.Random(seed=0), budget=HALF)

    def distance(network: nn.Module) -> float:
        with torch.no_grad():
            return float((network.eval()(images) - whole).norm() / whole.norm())

    lost = distance(ww.shrink(model, at_once, verify=False))
    small, _ = search.finish()
    assert distance(small) < 0.05 < 0.5 < lost


class Frozen(nn.Module):
    """Nothing but its last layer is trained."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 4, 3).requires_grad_(False), nn.Conv2d(4, 2, 1)
        self.last.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.conv(x).relu())


def test_a_network_that_is_not_trained_is_refused() -> None:
    """No penalty would push its units out."""
    with pytest.raises(SearchError, match="whose weights are trained"):
        ww.methods.growing_reg(Frozen(), IMAGE, budget=HALF)


def test_units_may_be_chosen_later() -> None:
    """During the warm-up nothing is chosen and nothing shrinks; growth counts from its end."""
    model = net()
    search = ww.methods.growing_reg(model, IMAGE, budget=HALF, growth=0.1, grow_every=1, warm_up=3)
    optimizer = SGD(model.parameters(), lr=0.1)
    before = [p.detach().clone() for p in model.parameters()]
    step(search, optimizer, 3)
    assert search.handle.leaving is None
    assert all(torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    with torch.no_grad():
        model[0].weight[:5] = 0.0
    step(search, optimizer)
    assert search.handle.penalty == pytest.approx(0.1)
    assert not search.handle.leaving[search.graph.axes["0"].units][5]


def test_a_resumed_search_remembers_whom_it_has_chosen() -> None:
    """Whatever the weights are now, the same units go, measured by what they had at the start."""
    model = net()
    search = ww.methods.growing_reg(model, IMAGE, budget=HALF)
    step(search, SGD(model.parameters(), lr=0.1), 7)
    state = search.state_dict()
    other = net()
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.copy_(parameter.flatten().flip(0).view_as(parameter))
    again = ww.methods.growing_reg(other, IMAGE, budget=HALF)
    again.load_state_dict(state)
    np.testing.assert_array_equal(again.handle.leaving, search.handle.leaving)
    assert again.handle.penalty == search.handle.penalty > 0
    assert not np.allclose(again.handle.importance(), search.handle.importance())
    other.load_state_dict(model.state_dict())
    np.testing.assert_allclose(again.handle.importance(), search.handle.importance())
