"""Milliseconds as a budget, by a meter whose times are computed from widths."""

from __future__ import annotations

import gc
import re
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import widthwise as ww
from cases import Case, every_case
from meters import Computed, InStairs
from widthwise.cost import full_cost, limit
from widthwise.cost.layers import layers_of
from widthwise.cost.stairs import fitted, probes
from widthwise.latency.calls import LayerCall
from widthwise.latency.store import Store
from widthwise.network.inputs import Inputs

IMAGE = torch.zeros(1, 3, 12, 12)


class Net(nn.Module):
    """Dense, depth-wise, grouped, transposed and linear layers, with ties and a normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 64, 3, padding=1)
        self.norm = nn.BatchNorm2d(64)
        self.depth = nn.Conv2d(64, 64, 3, padding=1, groups=64)
        self.groups = nn.Conv2d(64, 64, 3, padding=1, groups=8)
        self.point = nn.Conv2d(64, 64, 1)
        self.up = nn.ConvTranspose2d(64, 24, 2, stride=2)
        self.head = nn.Linear(24, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.stem(x)).relu()
        x = x + self.groups(self.depth(x))
        return self.head(self.up(self.point(x).relu()).mean((2, 3)))


FULL_PARAMS = sum(p.numel() for p in Net().parameters())


@pytest.fixture(scope="module")
def net() -> Net:
    """The network."""
    return Net().eval()


@pytest.fixture(scope="module")
def graph(net: Net) -> ww.ChannelGraph:
    """Its graph."""
    return ww.trace(net, IMAGE)


METER = Computed()
STAIRS = InStairs()
CHAIN = nn.Sequential(nn.Conv2d(3, 64, 3), nn.Conv2d(64, 128, 1), nn.Conv2d(128, 5, 1)).eval()
STAIRCASE = ww.trace(CHAIN, IMAGE)
LAYERS = layers_of(STAIRCASE, STAIRCASE.inputs)


def widths(graph: ww.ChannelGraph, counts: Sequence[int]) -> np.ndarray:
    """The mask that keeps so many eighths of every free axis."""
    kept = graph.everything.copy()
    free = [axis for axis in graph.axes.values() if axis.frozen is None]
    for axis, eighths in zip(free, counts, strict=True):
        kept[axis.units.start + axis.width * eighths // 8 : axis.units.stop] = False
    return kept


@pytest.mark.parametrize(
    ("budget", "amount"),
    [
        (ww.Latency(2.5), "2.5ms"), (ww.Latency(0.5), "0.5ms"), (ww.Latency(3), "3ms"),
        (ww.Latency("0.5ms"), "0.5ms"), (ww.Latency(keep=0.5), "50%"), (ww.Latency("50%"), "50%"),
        (ww.Latency("0.5"), "0.5"),
    ],
)  # fmt: skip
def test_a_number_is_milliseconds_and_text_may_be_a_share(
    graph: ww.ChannelGraph, budget: ww.Latency, amount: str
) -> None:
    """In text, milliseconds have a unit, for half a millisecond is not half of the time."""
    assert budget.amount == amount
    mine = ww.Latency(amount, meter=METER)
    full = full_cost(mine, graph)
    assert limit(mine, graph) == (
        float(amount.removesuffix("ms")) if "ms" in amount else 0.5 * full
    )


@pytest.mark.parametrize("amount", ["2.5", "fast", "-1ms", "0ms", "150%", "nanms", 0, -1.0])
def test_what_is_no_limit_is_refused(amount: str | float) -> None:
    """The message says how milliseconds are written."""
    with pytest.raises(ww.errors.BudgetError, match=r"such as 2\.5ms"):
        ww.Latency(amount)


def test_settings_are_refused_where_they_are_made() -> None:
    """Both limits or none, shares above 1, and engines that are none."""
    for wrong in ({}, {"keep": 1.5}, {"limit": 1, "keep": 0.5}):
        with pytest.raises(ww.errors.BudgetError):
            ww.Latency(**wrong)
    for engine in ("compiled", "abacus"):
        with pytest.raises(ww.errors.ConfigError, match="eager, onnxruntime"):
            ww.Latency(1, engine=engine)
    with pytest.raises(ww.errors.ConfigError, match="batch"):
        ww.Latency(1, batch=0)


@given(counts=st.lists(st.integers(1, 8), min_size=3, max_size=3))
def test_where_times_are_linear_the_prediction_is_exact(
    graph: ww.ChannelGraph, net: Net, counts: list[int]
) -> None:
    """Layers of every kind, and what is no layer, at widths that were not measured."""
    assert sum(axis.frozen is None for axis in graph.axes.values()) == 3
    kept = widths(graph, counts)
    plan = ww.Plan.of(graph, kept)
    small = ww.shrink(net, plan, verify=False)
    predicted = ww.Latency(1, meter=METER).cost(graph, kept)
    assert predicted == pytest.approx(METER.network(small, Inputs.of(IMAGE)), rel=1e-6)


@given(counts=st.lists(st.integers(2, 8), min_size=2, max_size=2))
def test_it_is_exact_where_times_go_up_in_stairs(counts: list[int]) -> None:
    """Of 40 channels a machine may compute 48, which an even course between 32 and 48 is not."""
    kept = widths(STAIRCASE, counts)
    small = ww.shrink(CHAIN, ww.Plan.of(STAIRCASE, kept), verify=False)
    predicted = ww.Latency(1, meter=STAIRS).cost(STAIRCASE, kept)
    assert predicted == pytest.approx(STAIRS.network(small, Inputs.of(IMAGE)), rel=1e-6)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_how_far_times_go_up_in_stairs_is_measured(share: float) -> None:
    """By one width between two multiples; the same times without stairs give none."""
    grids = [each.grids(STAIRCASE.free) for each in LAYERS]
    chosen = probes(LAYERS, grids)
    meter = InStairs(share=share)
    found = fitted(LAYERS, chosen, [meter.layers(probe.calls) for probe in chosen])
    assert len(chosen) == 4 and found == pytest.approx([share] * 3)


@every_case(
    without={
        "token_mixer": "channels are the rows that a linear layer is run on",
        "einsum_linear": "channels are the rows that a linear layer is run on",
    }
)
def test_it_is_exact_for_every_structure(case: Case) -> None:
    """Groups, shared layers, joined axes and attributes: a random plan takes what was predicted."""
    model = case.build()
    graph = ww.trace(model, case.example_inputs)
    generator = np.random.default_rng(0)
    kept = graph.everything.copy()
    for axis in graph.axes.values():
        if axis.frozen is None:
            width = int(generator.integers(axis.floor, axis.width + 1))
            kept[axis.units.start + width : axis.units.stop] = False
    small = ww.shrink(model, ww.Plan.of(graph, kept), verify=False)
    inputs = Inputs.from_spec(graph.inputs.with_batch(1).to_spec())
    predicted = ww.Latency(1, meter=METER).cost(graph, kept)
    assert predicted == pytest.approx(METER.network(small, inputs), rel=1e-6)


def test_every_layer_is_measured_once() -> None:
    """Two layers that are alike, and a second budget, ask for nothing new."""
    net = nn.Sequential(*(nn.Conv2d(8, 8, 3, padding=1) for _ in range(4)))
    graph, meter = ww.trace(net, torch.zeros(1, 8, 6, 6)), Computed()
    for budget in (ww.Latency(1, meter=meter), ww.Latency(keep=0.5, meter=meter)):
        budget.cost(graph, graph.everything)
    keys = [call.key for call in meter.asked]
    assert len(keys) == len(set(keys)) == 25
    ww.Latency(1, meter=meter, batch=2).cost(graph, graph.everything)
    assert len(meter.asked) == 50


METERS: dict[str, Computed] = {}


@given(data=st.data())
def test_more_units_never_cost_less(graph: ww.ChannelGraph, data: st.DataObject) -> None:
    """Whatever the times are: here they are drawn."""

    class Drawn(Computed):
        def layers(self, calls: Sequence[LayerCall]) -> list[float]:
            random = np.random.default_rng(len(calls))
            return [float(each) for each in random.uniform(0.1, 1, len(calls))]

    meter = METERS.setdefault("drawn", Drawn())
    few = data.draw(st.lists(st.integers(1, 8), min_size=3, max_size=3))
    more = [data.draw(st.integers(each, 8)) for each in few]
    budget = ww.Latency(1, meter=meter)
    costs = [budget.cost(graph, widths(graph, each)) for each in (few, more)]
    assert costs[0] <= costs[1] * (1 + 1e-12)


@pytest.mark.parametrize("keep", [0.4, 0.7, 1.0])
def test_a_budget_is_met(graph: ww.ChannelGraph, net: Net, keep: float, tmp_path: Path) -> None:
    """Alone and with others; predicted and measured stand in the plan, and in its file."""
    for budgets in ([ww.Latency(keep=keep, meter=METER)],
                    [ww.Macs(0.5), ww.Latency(keep=keep, meter=METER)]):  # fmt: skip
        plan = ww.plan(graph, score=ww.scores.L1(), budget=budgets)
        small = ww.shrink(net, plan)
        times = METER.networks([net, small], Inputs.of(IMAGE))
        assert times[1] <= keep * times[0] * (1 + 1e-9)
        assert plan.latency["full"] == pytest.approx(times[0])
        assert plan.latency["measured"] == pytest.approx(times[1])
        assert plan.latency["predicted"] == pytest.approx(times[1])
        assert plan.latency["bound"] == pytest.approx(keep * times[0])
        assert plan.budget["latency"] == f"{100 * keep:g}%"
        plan.save(tmp_path / "plan.json")
        again = ww.Plan.load(tmp_path / "plan.json")
        assert again == plan and "ms measured" in str(again)
    assert plan.macs() <= 0.5 * plan.full_macs


def test_a_prediction_that_is_wrong_is_corrected(graph: ww.ChannelGraph, net: Net) -> None:
    """Narrow networks take longer than was predicted: the second plan is narrower, and in time."""
    slow = Computed(full_params=FULL_PARAMS)
    budget = ww.Latency(keep=0.6, meter=slow)
    budget.cost(graph, graph.everything)
    slow.slow = 1.3
    plan = ww.plan(graph, score=ww.scores.L1(), budget=budget)
    assert plan.latency["measured"] <= plan.latency["bound"]
    assert plan.latency["predicted"] == pytest.approx(plan.latency["measured"] / 1.3)
    assert plan.latency["measured"] > 0.85 * plan.latency["bound"]
    assert plan.budget == {"latency": "60%"}


def test_a_bound_that_is_not_met_is_said(graph: ww.ChannelGraph) -> None:
    """Where cutting makes it no quicker, the plan says that it has made it slower."""
    slow = Computed(full_params=FULL_PARAMS)
    budget = ww.Latency(keep=0.6, meter=slow)
    budget.cost(graph, graph.everything)
    slow.slow = 20
    plan = ww.plan(graph, score=ww.scores.L1(), budget=budget)
    assert plan.latency["measured"] > plan.latency["full"]
    assert "slower than the full network" in str(plan)


def test_what_cannot_be_reached_says_why(graph: ww.ChannelGraph) -> None:
    """Milliseconds are written with their digits."""
    with pytest.raises(ww.errors.BudgetError, match=r"latency <= 0\.001 .* of \d+\.\d+") as error:
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Latency(0.001, meter=METER))
    assert "conv" not in str(error.value).splitlines()[0]


def test_a_search_ends_within_the_budget() -> None:
    """What was attached is gone when the network is measured."""
    net = Net()
    budget = ww.Latency(keep=0.6, meter=METER)
    search = ww.methods.dhp(net, IMAGE, budget=budget, round_to=1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    net(torch.randn(2, 3, 12, 12)).square().mean().backward()
    optimizer.step()
    search.step(optimizer)
    small, plan = search.finish(verify=False)
    assert plan.latency["measured"] <= plan.latency["bound"]
    assert METER.network(small, Inputs.of(IMAGE)) == pytest.approx(plan.latency["measured"])


def test_a_widened_network_is_held_against_the_users_own() -> None:
    """The share is one of the network that was given, not of the wide one."""
    net = nn.Sequential(nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Conv2d(16, 4, 3)).eval()
    small, plan = ww.methods.lw_dna(
        net, IMAGE, loss=lambda out, _: out.square().mean(),
        batch=(torch.randn(2, 3, 12, 12), torch.zeros(2)),
        budget=ww.Latency(keep=1.0, meter=METER), rho=0.1, tau=0.1,
    )  # fmt: skip
    assert plan.latency["full"] == pytest.approx(METER.network(net, Inputs.of(IMAGE)))
    assert METER.network(small, Inputs.of(IMAGE)) <= plan.latency["full"] * (1 + 1e-9)


def test_compressing_meets_it_too() -> None:
    """Widths from measured damage, within milliseconds."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    small, plan = ww.compress(
        net.eval(), [torch.randn(64, 6)], budget=ww.Latency(keep=0.7, meter=METER), steps=0
    )
    assert plan.latency["measured"] <= plan.latency["bound"]
    assert METER.network(small, Inputs.of(torch.zeros(1, 6))) == plan.latency["measured"]


def test_this_machine_is_measured_and_remembered() -> None:
    """Without a meter; times are positive, and of a second network nothing is measured again."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3)).eval()
    budget = ww.Latency(keep=0.9, threads=1)
    graph = ww.trace(net, IMAGE)
    assert full_cost(budget, graph) > 0
    from widthwise.latency.device import relevant

    stored = Store(relevant(budget.setting))
    assert len(stored.times) == 8 and stored.path.is_file()
    before = stored.path.stat().st_mtime_ns
    alike = nn.Sequential(*net)
    again = ww.trace(alike, IMAGE)
    assert full_cost(budget, again) > 0 and stored.path.stat().st_mtime_ns == before


def test_measurements_do_not_keep_a_graph_alive() -> None:
    """What was measured goes with the graph."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3)).eval()
    graph = ww.trace(net, IMAGE)
    ww.Latency(1, meter=METER).cost(graph, graph.everything)
    seen = weakref.ref(graph)
    del graph
    gc.collect()
    assert seen() is None


def test_damaged_times_in_a_plan_are_refused(graph: ww.ChannelGraph, tmp_path: Path) -> None:
    """What is printed of them has to be numbers."""
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Latency(keep=0.7, meter=METER))
    # Without the checksum, which would tell before.
    text = re.sub(r' *"checksum".*\n', "", plan.to_json())
    damages = {
        f'"bound": {plan.latency["bound"]}': '"bound": "soon"',
        '"threads": 1': '"threads": 0',
        '"engine": "eager"': '"engine": 3',
    }
    (tmp_path / "plan.json").write_text(text)
    assert ww.Plan.load(tmp_path / "plan.json") == plan
    for old, new in damages.items():
        assert old in text
        (tmp_path / "plan.json").write_text(text.replace(old, new))
        with pytest.raises(ww.errors.PlanError):
            ww.Plan.load(tmp_path / "plan.json")
