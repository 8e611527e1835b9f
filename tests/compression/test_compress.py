"""Compression: the best of several plans, promises that are kept, and what cannot be done."""

from __future__ import annotations

import importlib
import itertools
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import widthwise as ww
from cases import Case, every_case
from strategies import plan_of
from widthwise.compression import Curve, compressed
from widthwise.compression.curves import measured, reading, widths_measured
from widthwise.compression.effort import Effort
from widthwise.compression.given import first, halves, read
from widthwise.compression.knapsack import least_damage
from widthwise.compression.stopping import Promise
from widthwise.errors import BudgetError, ConfigError, SearchError
from widthwise.search.limits import Limits
from widthwise.search.scores.reconstruction import Removal


class Digits(nn.Module):
    """A small network with a trunk and two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(1, 12, 3, padding=1, bias=False), nn.BatchNorm2d(12)
        self.a, self.b = nn.Conv2d(12, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)
        self.c, self.d = nn.Conv2d(12, 16, 3, padding=1), nn.Conv2d(16, 12, 3, padding=1)
        self.head = nn.Linear(12 * 4, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.stem(x)).relu()
        x = (x + self.b(self.a(x).relu())).relu()
        x = (x + self.d(self.c(x).relu())).relu()
        return self.head(nn.functional.adaptive_avg_pool2d(x, 2).flatten(1))


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Images and labels."""
    found = load_digits()
    images = torch.from_numpy(found.images).float().unsqueeze(1) / 16
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return images[order], torch.from_numpy(found.target)[order]


@pytest.fixture(scope="module")
def trained(digits: tuple[Tensor, Tensor]) -> nn.Module:
    """A network that knows digits."""
    images, labels = digits[0][:1000], digits[1][:1000]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Digits()
        optimizer = torch.optim.Adam(model.parameters(), 3e-3)
        for _ in range(12):
            for chosen in torch.randperm(1000).split(50):
                loss = nn.functional.cross_entropy(model(images[chosen]), labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return model.eval()


def accuracy(model: nn.Module, digits: tuple[Tensor, Tensor]) -> float:
    """The share of right answers on images that were never used."""
    with torch.no_grad():
        return float((model(digits[0][1400:]).argmax(1) == digits[1][1400:]).double().mean())


def test_a_trained_network_survives_the_cut(
    trained: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    """At 30 % of the MACs: within budget, better than a plain cut, the original untouched."""
    before = {name: tensor.clone() for name, tensor in trained.state_dict().items()}
    batches = list(digits[0][1000:1400].split(100))
    steps: list[tuple[int, int, str]] = []
    found = compressed(
        trained,
        batches,
        budget=ww.Macs(0.3),
        limits=Limits(min_width=2),
        progress=lambda *step: steps.append(step),
    )
    assert found.plan.macs() <= 0.3 * found.plan.full_macs
    assert min(found.plan.widths.values()) >= 2
    assert [trial.damage for trial in found.trials] == sorted(t.damage for t in found.trials)
    assert found.plan == found.trials[0].plan
    assert found.inputs == 400 and found.compared == 200

    plan = ww.plan(ww.trace(trained, batches[0]), score=ww.scores.L1(), budget=ww.Macs(0.3))
    plain = ww.shrink(trained, plan)
    ww.heal(plain, trained, plan, batches)
    full = accuracy(trained, digits)
    assert accuracy(found.network, digits) > max(accuracy(plain, digits) - 0.01, full - 0.08)
    assert all(torch.equal(before[name], t) for name, t in trained.state_dict().items())
    assert not found.network.training
    numbers = [number for number, _, _ in steps]
    assert numbers == sorted(numbers)
    assert all(number < count for number, count, _ in steps)
    assert set(range(numbers[-1])) < set(numbers)
    assert found.healed.refined is not None
    assert found.healed.refined.after < found.healed.refined.before
    assert "30.0% of the MACs" in str(found) or "29." in str(found)
    assert set(found.curves) == {"stem", "a", "c"}
    for curve in found.curves.values():
        assert curve.damage[0] == 0 and len(curve.widths) == len(curve.damage) == 4


def test_a_promise_is_kept_by_the_smallest(
    trained: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    """A tighter promise does not lead to a smaller network, and both hold."""
    batches = [digits[0][1000:1400]]
    costs = []
    for share in (0.98, 0.8):
        found = compressed(trained, batches, stop_at=f"agreement>={share}", steps=0)
        assert found.trials[0].agreement is not None and found.trials[0].agreement >= share
        costs.append(found.plan.macs())
    assert costs[0] > costs[1]


def test_the_measure_of_the_user_decides(trained: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    """It is called with networks in evaluation mode, and a drop is counted from the full one."""
    calls: list[bool] = []

    def measure(network: nn.Module) -> float:
        calls.append(network.training)
        return accuracy(network, digits)

    batches = [digits[0][1000:1100]]
    found = compressed(trained, batches, stop_at="drop<=5%", measure=measure, steps=0)
    assert found.measure == accuracy(trained, digits)
    best = found.trials[0]
    assert best.measure is not None and found.measure is not None
    assert found.measure - best.measure <= 0.05
    assert best.damage == pytest.approx(max(found.measure - best.measure, 0))
    assert not any(calls)
    with pytest.raises(SearchError, match="not a number"):
        ww.compress(trained, batches, budget=ww.Macs(0.5), measure=lambda _: float("nan"))


def test_what_cannot_be_done_is_named(trained: nn.Module, digits: tuple[Tensor, Tensor]) -> None:
    """Neither or both of budget and promise, too few inputs, a promise that nothing keeps."""
    x = digits[0][:64]
    with pytest.raises(ConfigError, match="either a budget or a promise"):
        ww.compress(trained, [x])
    with pytest.raises(ConfigError, match="either a budget or a promise"):
        ww.compress(trained, [x], budget=ww.Macs(0.5), stop_at="agreement>=0.9")
    with pytest.raises(ConfigError, match="no batches"):
        ww.compress(trained, iter(()), budget=ww.Macs(0.5))
    with pytest.raises(ConfigError, match="one input"):
        ww.compress(trained, [x[:1]], budget=ww.Macs(0.5))
    with pytest.raises(ConfigError, match="Batch 1 holds values that are not finite"):
        ww.compress(trained, [x, x / 0 * 0], budget=ww.Macs(0.5))
    with pytest.raises(BudgetError, match="smallest reachable"):
        ww.compress(trained, [x], budget=ww.Macs(1e-6))
    with pytest.raises(BudgetError, match="No network narrower"):
        ww.compress(trained, [x], stop_at="agreement>=1.1")


@pytest.mark.parametrize(
    ("text", "measured", "says"),
    [
        ("agreement", False, "no promise"),
        ("agreement<=0.9", False, "no promise"),
        ("accuracy>=0.9", True, "no promise"),
        ("drop<=1e", True, "no promise"),
        ("drop<=0.1", False, "speaks of a measure"),
    ],
)
def test_promises_that_cannot_be_read(text: str, measured: bool, says: str) -> None:
    """The form is shown."""
    with pytest.raises(ConfigError, match=says):
        Promise.read(text, measured=measured)


def test_promises_in_percent() -> None:
    """A share may be written as a percentage."""
    assert Promise.read(" agreement >= 95% ", measured=False).bound == 0.95


def test_agreement_needs_classes() -> None:
    """A network that maps images to images has no answers to agree on."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3)).eval()
    with pytest.raises(ConfigError, match="no scores of classes"):
        ww.compress(net, [torch.randn(8, 3, 8, 8)], stop_at="agreement>=0.9")


def test_a_curve_goes_through_what_was_measured() -> None:
    """It never falls, and beyond the last point it grows as the estimate does."""
    removal = Removal(np.arange(8), np.array([0, 0, 1, 2, 4, 4, 8, 9, 10.0]))
    found = measured(removal, Curve((8, 6, 4, 2), (0.0, 0.3, 0.2, 0.9))).damage
    assert found[0] == 0
    assert found[2] == pytest.approx(0.3) and found[4] == pytest.approx(0.3)
    assert found[6] == pytest.approx(0.9)
    assert found[3] == pytest.approx(0.3)
    assert found[8] == pytest.approx(0.9 * 10 / 8, rel=1e-6)
    assert (np.diff(found) >= 0).all()
    flat = Removal(np.arange(4), np.zeros(5))
    assert np.diff(measured(flat, Curve((4, 2), (0.0, 1.0))).damage).min() > 0.4


def chain() -> ww.ChannelGraph:
    """Three axes in a row."""
    net = nn.Sequential(*(nn.Linear(5, 5) for _ in range(4)))
    graph = ww.trace(net, torch.zeros(1, 5))
    graph.keeps = net  # type: ignore[attr-defined]
    return graph


@pytest.mark.parametrize("keep", [0.9, 0.7, 0.5, 0.35])
def test_the_knapsack_is_close_to_the_best_of_all_plans(keep: float) -> None:
    """Within the budget, at most a fifth of the range above the best of all 125 choices."""
    graph = chain()
    names = [axis.name for axis in graph.axes.values() if axis.frozen is None]
    generator = np.random.default_rng(7)
    removals = {
        name: Removal(
            generator.permutation(5),
            np.concatenate([[0], np.cumsum(np.sort(generator.random(5)))]),
        )
        for name in names
    }
    budget = ww.Macs(keep)
    mask = least_damage(graph, removals, [budget], Limits())
    plan = plan_of(graph, mask)
    assert plan.macs() <= keep * graph.macs()
    for name in names:
        own = np.flatnonzero(~mask[graph.axes[name].units])
        assert set(own) == set(removals[name].order[: len(own)])

    def damage(widths: tuple[int, ...]) -> float:
        return sum(float(removals[n].damage[5 - w]) for n, w in zip(names, widths, strict=True))

    def cost(widths: tuple[int, ...]) -> int:
        kept = graph.everything.copy()
        for name, width in zip(names, widths, strict=True):
            units = graph.axes[name].units
            kept[units.start : units.start + 5 - width] = False
        return graph.macs(kept)

    every = [w for w in itertools.product(range(1, 6), repeat=3) if cost(w) <= keep * graph.macs()]
    best = min(map(damage, every))
    assert damage(tuple(plan.widths[name] for name in names)) <= best + 0.2 * damage((1, 1, 1))


def test_a_tighter_budget_never_costs_more() -> None:
    """Over many budgets, and of several at once all are met."""
    graph = chain()
    removals = {
        name: Removal(np.arange(5), np.array([0, 1, 2, 4, 8, 16.0]) * (number + 1))
        for number, name in enumerate(a.name for a in graph.axes.values() if a.frozen is None)
    }
    costs = [
        graph.macs(least_damage(graph, removals, [ww.Macs(keep)], Limits()))
        for keep in np.linspace(1, 0.2, 33)
    ]
    assert all(after <= before for before, after in itertools.pairwise(costs))
    both = [ww.Macs(0.8), ww.Params(0.5)]
    plan = plan_of(graph, least_damage(graph, removals, both, Limits()))
    assert plan.macs() <= 0.8 * graph.macs() and plan.params() <= 0.5 * graph.params()


def test_widths_that_are_measured_are_allowed() -> None:
    """Aligned, above the floor, and none where nothing can be narrowed."""
    net = nn.Sequential(nn.Linear(5, 64), nn.Linear(64, 3), nn.Linear(3, 2))
    graph = ww.trace(net, torch.zeros(1, 5))
    assert widths_measured(graph.axes["0"], Limits()) == [48, 32, 16]
    assert widths_measured(graph.axes["0"], Limits(min_keep=0.7)) == [48]
    assert widths_measured(graph.axes["1"], Limits(min_width=3)) == []


def test_what_reads_an_axis_is_healed_in_its_trials() -> None:
    """The layers that read it and the norms that it passes; not its maker, nor what is behind."""
    net = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 6), nn.Linear(6, 2))
    graph = ww.trace(net, torch.zeros(1, 5))
    assert reading(graph, graph.axes["0"]) == {"1", "2"}
    assert reading(graph, graph.axes["2"]) == {"3"}


def test_a_measure_that_sees_nothing_leaves_the_estimate() -> None:
    """All plans are as good to it, so that units go where the outputs change least."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3)
    ).eval()
    batches = [torch.randn(64, 6), torch.randn(64, 6)]
    budget = ww.Macs(0.5)
    _, plan = ww.compress(net, batches, budget=budget, measure=lambda _: 1.0, steps=0)
    _, expected = ww.compress(net, batches, budget=budget, steps=0)
    assert max(abs(plan.widths[name] - expected.widths[name]) for name in plan.widths) <= 4


def test_outputs_that_cannot_be_compared_are_refused() -> None:
    """Decisions have no distance; answers of probability zero have one."""
    from widthwise.search.distance import distance

    class Decides(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x).argmax(1)

    with pytest.raises(ConfigError, match="returns no floating-point numbers"):
        ww.compress(Decides().eval(), [torch.randn(16, 6)] * 2, budget=ww.Macs(0.5))
    masked = torch.randn(4, 5).masked_fill(torch.eye(4, 5).bool(), -torch.inf)
    assert distance([masked], [masked]) == 0
    assert 0 < distance([masked], [masked + torch.randn(4, 5)]) < 10


def test_promises_that_cannot_be_kept_are_refused_before_the_work() -> None:
    """One above what the full network has, and agreement of what gives no answers."""
    net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3)).eval()
    steps: list[str] = []
    batches = [torch.randn(16, 6)] * 2

    def note(number: int, of: int, what: str) -> None:
        steps.append(what)

    with pytest.raises(BudgetError, match=r"the full network measures 0.5"):
        ww.compress(net, batches, stop_at="measure>=0.9", measure=lambda _: 0.5, progress=note)
    maps = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 3, 3)).eval()
    with pytest.raises(ConfigError, match="no scores of classes"):
        ww.compress(maps, [torch.randn(4, 3, 8, 8)] * 2, stop_at="agreement>=0.9", progress=note)
    assert steps == []


def test_a_promise_holds_for_what_is_returned(
    trained: nn.Module, digits: tuple[Tensor, Tensor]
) -> None:
    """The network that is handed over was measured itself, after the last repair."""

    def measure(network: nn.Module) -> float:
        return accuracy(network, digits)

    found = compressed(
        trained, [digits[0][1000:1200]], stop_at="drop<=4%", measure=measure, steps=40
    )
    assert accuracy(found.network, digits) == found.trials[0].measure
    assert accuracy(trained, digits) - accuracy(found.network, digits) <= 0.04


def test_a_last_repair_that_breaks_a_promise_is_not_kept(
    trained: nn.Module, digits: tuple[Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it is the network of the trial that is returned, with the report of its own healing."""
    from widthwise.healing import heal

    def spoilt(small: nn.Module, *args: Any, **options: Any) -> ww.HealReport:
        report = heal(small, *args, **options)
        with torch.no_grad():
            for parameter in small.parameters():
                parameter.zero_()
        return report

    # The function of the package has the name of its module.
    module = importlib.import_module("widthwise.compression.compress")
    monkeypatch.setattr(module, "heal", spoilt)
    found = compressed(trained, [digits[0][1000:1200]], stop_at="agreement>=0.9", steps=3)
    held_out = digits[0][1100:1200]
    with torch.no_grad():
        alike = found.network(held_out).argmax(1) == trained(held_out).argmax(1)
    assert float(alike.double().mean()) == pytest.approx(found.trials[0].agreement)
    assert found.trials[0].agreement is not None and found.trials[0].agreement >= 0.9
    assert found.healed.refined is None


def test_large_networks_get_less() -> None:
    """Inputs by their cost, within bounds; only small networks are healed whole in a trial."""
    small, large = Effort.of(1_000), Effort.of(4_000_000_000)
    assert small.whole and not large.whole
    assert (small.healed_on, small.compared_on) == (256, 512)
    assert (large.healed_on, large.compared_on, large.result_on) == (64, 128, 256)
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    assert [b.batch for b in first(read(net, [torch.randn(6, 4), torch.randn(6, 4)]), 8)] == [6, 2]


def test_inputs_are_parted_once_and_for_all() -> None:
    """Every input is in one half; those of two shapes are in both; a single batch is parted."""
    x = torch.arange(20.0).reshape(10, 2)
    other = torch.zeros(6, 3)
    first, second = halves(read(nn.Linear(2, 1), [x[:4], x[4:], other, other]), 512)
    assert [each.batch for each in first] == [4, 6]
    assert [each.batch for each in second] == [6, 6]
    first, second = halves(read(nn.Linear(2, 1), [x]), 512)
    assert torch.equal(torch.cat([first[0].tensors[0], second[0].tensors[0]]), x)
    many = read(nn.Linear(2, 1), [torch.zeros(1500, 2)])
    assert [sum(each.batch or 0 for each in half) for half in halves(many, 512)] == [750, 512]


@every_case(
    without={
        "reads_values": "its forward takes another way on other inputs",
        "inplace_ops": "its gradients cannot be computed",
    }
)
def test_any_network_is_compressed(case: Case) -> None:
    """Within the budget that half of the way to its smallest plan is, and it runs."""
    model, inputs = case.build(), case.example_inputs
    model.eval()
    graph = ww.trace(model, inputs)
    if all(len(widths_measured(axis, Limits())) == 0 for axis in Limits().axes(graph)):
        pytest.skip("nothing to narrow")
    smallest = graph.everything.copy()
    for axis in Limits().axes(graph):
        smallest[axis.units.start + Limits().widths(axis)[-1] : axis.units.stop] = False
    budget = ww.Macs((graph.macs(smallest) / graph.macs() + 1) / 2)

    def noisy(seed: int) -> Any:
        generator = torch.Generator().manual_seed(seed)
        return torch.utils._pytree.tree_map(
            lambda t: t + torch.randn(t.shape, generator=generator) if t.is_floating_point() else t,
            inputs,
        )

    batches = [noisy(seed) for seed in range(2)]
    small, plan = ww.compress(model, batches, budget=budget, steps=2)
    assert plan.macs() <= budget.amount * graph.macs()
    with torch.no_grad():
        small(*inputs) if isinstance(inputs, tuple) else (
            small(**inputs) if isinstance(inputs, dict) else small(inputs)
        )
