"""What a search does over its life: steps, checks, the end, and being dropped."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
import torch.optim.swa_utils
from torch import nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.methods import dhp
from widthwise.search.prox import GroupSoftThreshold


class Net(nn.Module):
    """Two tied convolutions, a free one and a classifier; widths 8, 16, 12."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(8)
        self.wide = nn.Conv2d(8, 16, 3, padding=1)
        self.back = nn.Conv2d(16, 8, 3, padding=1)
        self.last = nn.Conv2d(8, 12, 1)
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.norm(self.stem(x)).relu()
        x = x + self.back(self.wide(x).relu())
        return self.fc(self.last(x).relu().mean((2, 3)))


INPUT = torch.zeros(1, 3, 8, 8)


def build(seed=0, **options):
    """A network and a search on it with an optimizer, all from one seed."""
    torch.manual_seed(seed)
    model = Net()
    settings = {"budget": ww.Macs(0.5), "sparsity": 0.5, "prune_threshold": 0.05, "check_every": 5}
    search = dhp(model, INPUT, **(settings | options))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-4)
    return model, search, optimizer


def train(model, search, optimizer, steps, *, first=0):
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        images = torch.randn(4, 3, 8, 8, generator=generator)
        labels = torch.randint(0, 5, (4,), generator=generator)
        optimizer.zero_grad()
        functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
        search.step(optimizer)


def prunable(search):
    free = np.zeros(search.graph.unit_count, dtype=bool)
    for axis in search.graph.axes.values():
        free[axis.units] = axis.frozen is None
    return torch.from_numpy(free)


# ------------------------------------------------------------------ one step


def test_step_is_a_soft_threshold_of_sparsity_times_learning_rate():
    """One step moves every free latent by ``sparsity * lr`` towards zero, and no other."""
    _, search, optimizer = build(sparsity=0.2)
    before = search.handle.latents.detach().clone()
    search.step(optimizer)
    moved = before.sign() * (before.abs() - 0.2 * 0.05).clamp_min(0)
    free = prunable(search)
    assert not free.all()
    torch.testing.assert_close(search.handle.latents[free], moved[free])
    assert torch.equal(search.handle.latents[~free], before[~free])


def test_step_uses_the_learning_rate_of_the_group_that_holds_the_latents():
    """With several parameter groups the latents' own rate counts, also after it changes."""
    model, search, _ = build(sparsity=1.0)
    others = [p for p in model.parameters() if p is not search.handle.latents]
    optimizer = torch.optim.SGD(
        [{"params": others, "lr": 1.0}, {"params": [search.handle.latents]}], lr=0.01
    )
    optimizer.param_groups[1]["lr"] = 0.03
    before = search.handle.latents.detach().clone()
    search.step(optimizer)
    index = int((before.abs() * prunable(search)).argmax())
    assert (before - search.handle.latents)[index].abs().item() == pytest.approx(0.03, rel=1e-4)


def test_axis_at_its_floor_is_left_alone():
    """Once no more latents than `min_width` are large, an axis is not shrunk any further."""
    _, search, optimizer = build(min_width=4, sparsity=1.0)
    axis = search.graph.axes["wide"]
    with torch.no_grad():
        search.handle.latents.fill_(1.0)
        search.handle.latents[axis.units] = 0.01
        search.handle.latents[axis.units.start : axis.units.start + 4] = 0.9
    before = search.handle.latents.detach().clone()
    search.step(optimizer)
    assert torch.equal(search.handle.latents[axis.units], before[axis.units])
    assert (search.handle.latents[search.graph.axes["last"].units] < 1.0).all()


def test_excluded_axis_is_neither_shrunk_nor_cut():
    """`exclude` holds during the search and in the plan."""
    model, search, optimizer = build(exclude=["wide"], sparsity=5.0, budget=ww.Macs(0.7))
    axis = search.graph.axes["wide"]
    before = search.handle.latents.detach()[axis.units].clone()
    search.step(optimizer)
    assert torch.equal(search.handle.latents[axis.units], before)
    train(model, search, optimizer, 3)
    assert search.finish()[1].widths["wide"] == 16


def test_group_prox_keeps_the_proportions_of_an_axis():
    """With `GroupSoftThreshold` all latents of an axis shrink by the same factor."""
    _, search, optimizer = build(prox=GroupSoftThreshold(), sparsity=1.0)
    axis = search.graph.axes["wide"]
    before = search.handle.latents.detach()[axis.units].clone()
    search.step(optimizer)
    factor = search.handle.latents[axis.units] / before
    assert factor.max() < 1
    torch.testing.assert_close(factor, factor.mean().expand_as(factor))


# ------------------------------------------------------------------ checks


def test_history_has_one_entry_per_check_and_done_follows_the_last():
    """Every `check_every` steps the cost at the threshold is compared with the budget."""
    model, search, optimizer = build(check_every=2, stop_limit=0.2)
    assert search.history == []
    assert not search.done
    for _ in range(40):
        train(model, search, optimizer, 2, first=search._steps)
        fraction = search.history[-1]["cost_fraction"]
        assert fraction == search.cost_alive()["macs"] / search.graph.macs()
        assert search.done == (fraction <= 0.7)
        if search.done:
            break
    assert search.done
    assert search.history[-1]["cost_fraction"] > 0.5, "the limit made no difference"
    assert [check["step"] for check in search.history] == list(range(2, search._steps + 1, 2))


def test_a_check_compares_at_once_and_once_per_step():
    """A search may end between two comparisons, and what its end has reached counts."""
    model, search, optimizer = build(check_every=5)
    train(model, search, optimizer, 7)
    assert [check["step"] for check in search.history] == [5]
    search.check()
    search.check()
    assert [check["step"] for check in search.history] == [5, 7]
    search.finish(optimizer)
    with pytest.raises(SearchError, match="over"):
        search.check()


def test_cost_alive_counts_the_network_the_threshold_leaves():
    """MACs and parameters are those of the graph at the latents above the threshold."""
    _, search, _ = build(min_width=2)
    assert search.cost_alive()["macs"] <= search.graph.macs()
    with torch.no_grad():
        search.handle.latents.zero_()
    kept = np.ones(search.graph.unit_count, dtype=bool)
    for axis in search.graph.axes.values():
        if axis.frozen is None:
            kept[axis.units.start + 2 : axis.units.stop] = False
    assert search.cost_alive() == {
        "macs": search.graph.macs(kept),
        "params": search.graph.params(kept),
    }


def test_several_budgets_are_all_met():
    """With a list of budgets the search is done when the furthest one is, and all are met."""
    model, search, optimizer = build(budget=[ww.Macs(0.9), ww.Params(0.4)], check_every=1)
    train(model, search, optimizer, 1)
    params = search.cost_alive()["params"] / search.graph.params()
    assert search.history[-1]["cost_fraction"] == params
    _, plan = search.finish()
    assert plan.macs() <= 0.9 * plan.full_macs
    assert plan.params() <= 0.4 * plan.full_params


# ------------------------------------------------------------------ the end


@pytest.mark.parametrize("steps", [0, 12])
def test_finish_meets_the_budget_at_any_time(steps):
    """Whether or not the search has got there, the result costs at most the budget."""
    model, search, optimizer = build()
    train(model, search, optimizer, steps)
    small, plan = search.finish()
    assert 0.4 < plan.macs() / plan.full_macs <= 0.5
    assert ww.trace(small, INPUT).macs() == plan.macs()
    assert sum(p.numel() for p in small.parameters()) == plan.params()
    assert (plan.method, plan.seed) == ("dhp", 1)


def test_finish_keeps_the_largest_latents_of_every_axis():
    """Within an axis no removed unit has a larger latent than a kept one."""
    model, search, optimizer = build()
    train(model, search, optimizer, 8)
    size = search.handle.latents.detach().abs().numpy().copy()
    _, plan = search.finish()
    for name, axis in search.graph.axes.items():
        own = size[axis.units]
        kept = np.isin(np.arange(axis.width), plan.kept[name])
        assert kept.all() or own[kept].min() >= own[~kept].max()


def test_narrow_network_carries_the_searched_weights():
    """The result holds the generated weights of kept units, the wide network those of all."""
    model, search, optimizer = build()
    train(model, search, optimizer, 8)
    weight = model.wide.weight.detach().clone()
    outputs = model.eval()(torch.ones_like(INPUT))
    small, plan = search.finish()
    kept = np.ix_(plan.kept["wide"], plan.kept["stem"])
    torch.testing.assert_close(small.wide.weight.detach(), weight[kept])
    torch.testing.assert_close(model(torch.ones_like(INPUT)), outputs)
    for network in (small, model):
        assert type(network.wide) is nn.Conv2d
        assert list(dict(network.named_parameters())) == list(dict(Net().named_parameters()))
        assert all(parameter.requires_grad for parameter in network.parameters())


def test_result_equals_the_wide_network_with_removed_units_silenced():
    """Kept channels compute what they did in the wide network when nothing reads the removed."""
    model, search, optimizer = build()
    train(model, search, optimizer, 8)
    small, plan = search.finish()
    with torch.no_grad():
        for reader, axis in [("wide", "stem"), ("back", "wide"), ("last", "stem"), ("fc", "last")]:
            weight = model.get_submodule(reader).weight
            removed = np.setdiff1d(np.arange(weight.shape[1]), plan.kept[axis])
            weight[:, removed] = 0
    images = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(small.eval()(images), model.eval()(images), rtol=1e-4, atol=1e-5)


def test_failed_proof_leaves_the_search_running(monkeypatch):
    """When the proof fails nothing is lost: the search is attached as before and can go on."""
    model, search, optimizer = build()
    train(model, search, optimizer, 2)
    expected = model.eval()(torch.ones_like(INPUT))

    def fail(*_, **__):
        raise ww.errors.ProofError("on purpose")

    with monkeypatch.context() as patch, pytest.raises(ww.errors.ProofError):
        patch.setattr("widthwise.search.search.shrink", fail)
        search.finish()
    torch.testing.assert_close(model(torch.ones_like(INPUT)), expected)
    train(model.train(), search, optimizer, 2)
    search.finish()


# ------------------------------------------------------------------ dropped


def everything(model):
    """All there is to a network: names, order, bytes, flags, classes, hooks, gradients."""
    return [
        (
            path, type(module), module.training, len(module._forward_hooks),
            len(module._forward_pre_hooks), len(module._forward_hooks_always_called),
            [
                (name, id(t), t.requires_grad, t.detach().numpy().tobytes(),
                 None if t.grad is None else t.grad.numpy().tobytes())
                for name, t in (*module._parameters.items(), *module._buffers.items())
                if t is not None
            ],
        )
        for path, module in model.named_modules()
    ]  # fmt: skip


def test_abandoned_search_leaves_the_network_bit_for_bit():
    """Values, statistics, order, objects, flags, gradients, classes and hooks are as before."""
    torch.manual_seed(0)
    model = Net()
    model.back.bias.requires_grad_(False)
    model(torch.randn(2, 3, 8, 8)).sum().backward()
    before = everything(model)
    search = dhp(model, INPUT, budget=ww.Macs(0.5))
    train(model, search, torch.optim.SGD(model.parameters(), lr=0.1), 3)
    model.eval()
    model.fc.requires_grad_(False)
    search.abandon()
    assert everything(model) == before
    search.abandon()


@pytest.mark.parametrize("end", ["finish", "abandon"])
def test_copies_made_during_a_search_outlive_it(end):
    """An average of the weights computes after the search's end what it computed before."""
    model, search, optimizer = build()
    train(model, search, optimizer, 2)
    average = torch.optim.swa_utils.AveragedModel(model).eval()
    x = torch.randn(2, 3, 8, 8)
    before = average(x)
    getattr(search, end)()
    assert torch.equal(average(x), before)
    assert isinstance(average.module.stem.weight, torch.Tensor)
    assert type(model.stem) is nn.Conv2d


def test_exception_inside_with_abandons():
    """An exception leaves the block with the network restored, and is not swallowed."""
    torch.manual_seed(0)
    model = Net()
    before = everything(model)
    with pytest.raises(ZeroDivisionError), dhp(model, INPUT, budget=ww.Macs(0.5)) as search:
        train(model, search, torch.optim.SGD(model.parameters(), lr=0.1), 2)
        raise ZeroDivisionError
    assert everything(model) == before


def test_with_block_that_ends_well_keeps_the_search():
    """Without an exception the search stays attached and can be finished afterwards."""
    model, search, optimizer = build()
    with search:
        train(model, search, optimizer, 1)
    small, plan = search.finish()
    assert sum(p.numel() for p in small.parameters()) == plan.params()


@pytest.mark.parametrize("end", ["finish", "abandon"])
def test_search_that_is_over_says_so(end):
    """After the end neither a step nor another end is possible."""
    _, search, optimizer = build()
    getattr(search, end)()
    with pytest.raises(SearchError, match=f"it was {end}"):
        search.step(optimizer)
    with pytest.raises(SearchError, match="over"):
        search.finish()


def test_attaching_leaves_the_global_random_state_alone():
    """Latents come from the search's own seed, so the user's random numbers stay the same."""
    torch.manual_seed(3)
    model = Net()
    state = torch.get_rng_state()
    dhp(model, INPUT, budget=ww.Macs(0.5), seed=9)
    assert torch.equal(torch.get_rng_state(), state)


# ------------------------------------------------------------------ resume


def test_resumed_search_ends_in_the_same_plan():
    """Saved and loaded half-way through a file, a search finishes exactly as uninterrupted."""
    model, search, optimizer = build()
    train(model, search, optimizer, 20)
    small, plan = search.finish()

    model, search, optimizer = build()
    train(model, search, optimizer, 11)
    file = io.BytesIO()
    torch.save([model.state_dict(), search.state_dict(), optimizer.state_dict()], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    model, search, optimizer = build(seed=99)
    for part, state in zip((model, search, optimizer), states, strict=True):
        part.load_state_dict(state)
    assert [check["step"] for check in search.history] == [5, 10]
    train(model, search, optimizer, 9, first=11)
    assert [check["step"] for check in search.history] == [5, 10, 15, 20]
    resumed, again = search.finish()
    assert again.widths == plan.widths
    for name in plan.kept:
        np.testing.assert_array_equal(again.kept[name], plan.kept[name])
    for one, other in zip(small.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


def test_state_of_another_network_is_refused():
    """A state is bound to the axes it was made for, and the message shows both."""
    _, search, _ = build()
    other = nn.Sequential(nn.Conv2d(3, 9, 3), nn.Conv2d(9, 9, 3), nn.Conv2d(9, 2, 3))
    state = dhp(other, INPUT, budget=ww.Macs(0.9)).state_dict()
    with pytest.raises(SearchError, match="network: here"):
        search.load_state_dict(state)
    with pytest.raises(SearchError, match="method: here 'dhp', saved 'hinge'"):
        search.load_state_dict(search.state_dict() | {"method": "hinge"})
    with pytest.raises(SearchError, match="it has no steps"):
        search.load_state_dict({"method": "dhp", "network": search._fingerprint(), "history": []})


# ------------------------------------------------------------------ what goes wrong


def test_optimizer_made_before_the_search_is_an_error():
    """An optimizer that does not hold the latents would never train them."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    search = dhp(model, INPUT, budget=ww.Macs(0.5))
    with pytest.raises(SearchError, match="create the optimizer after the search"):
        search.step(optimizer)


def test_divergence_is_an_error_that_says_what_to_do():
    """NaN latents stop the search at once instead of giving an arbitrary plan."""
    model, search, optimizer = build()
    (model(torch.full((1, 3, 8, 8), torch.nan)).sum()).backward()
    optimizer.step()
    with pytest.raises(SearchError, match="lower the learning rate"):
        search.step(optimizer)
    with pytest.raises(SearchError, match="no longer finite"):
        search.finish()


def test_budget_out_of_reach_is_an_error_before_anything_is_attached():
    """With the floors of the search no plan is that cheap: said at once, network untouched."""
    model = Net()
    before = everything(model)
    with pytest.raises(BudgetError, match="smallest reachable"):
        dhp(model, INPUT, budget=ww.Macs(0.01), min_width=4)
    assert everything(model) == before


@pytest.mark.parametrize(
    "option",
    [
        {"sparsity": -1.0},
        {"prune_threshold": float("nan")},
        {"stop_limit": -0.1},
        {"check_every": 0},
    ],
)
def test_hyper_parameters_out_of_range_are_named(option):
    """A wrong number is an error that names the keyword."""
    with pytest.raises(ConfigError, match=next(iter(option))):
        build(**option)


def test_axis_that_learns_nothing_keeps_its_width():
    """An axis that no generated weight touches is neither shrunk nor cut."""

    class Odd(Net):
        def __init__(self):
            super().__init__()
            self.shift = nn.Linear(12, 12)
            self.shift.weight.requires_grad_(False)

        def forward(self, x):
            x = self.norm(self.stem(x)).relu()
            x = x + self.back(self.wide(x).relu())
            return self.fc(self.shift(self.last(x).relu().mean((2, 3))))

    model = Odd()
    search = dhp(model, INPUT, budget=ww.Macs(0.5), sparsity=1.0)
    axis = search.graph.axes["shift"]
    assert axis.frozen is None
    before = search.handle.latents.detach().clone()
    search.step(torch.optim.SGD(model.parameters(), lr=0.1))
    assert torch.equal(search.handle.latents[axis.units], before[axis.units])
    assert search.finish()[1].widths["shift"] == 12
