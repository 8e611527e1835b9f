"""Plans as files: readable, diffable, and refused when damaged."""

from __future__ import annotations

import copy
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import widthwise as ww
from widthwise.cost import costs_of


def net(width: int = 8) -> nn.Module:
    """Two convolutions."""
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.Conv2d(width, 4, 3))


@pytest.fixture
def plan() -> ww.Plan:
    """A plan for them."""
    model = net()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    return ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))


def test_file_is_readable(plan: ww.Plan, tmp_path: Path) -> None:
    """The file names axes, widths, costs, budget and method in plain JSON."""
    plan.save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    assert data["axes"]["0"]["kept"] == "0-3"
    assert (data["axes"]["0"]["width"], data["axes"]["0"]["keeps"]) == (8, 4)
    assert "1.weight:1" in data["axes"]["0"]["tied"]
    assert data["budget"] == {"macs": 0.5}
    assert data["method"] == "Uniform()"
    assert data["cost"]["macs"] == 6192 and data["full_cost"]["macs"] == 12384


def test_resnet50_file_is_small_and_deterministic() -> None:
    """A random plan of ResNet-50, the worst case for ranges, stays below 100 kB."""
    model = torchvision.models.resnet50()
    texts = []
    for _ in range(2):
        graph = ww.trace(model, torch.zeros(1, 3, 64, 64))
        plan = ww.plan(graph, score=ww.scores.Random(), budget=ww.Macs(0.3))
        texts.append(plan.to_json())
    assert texts[0] == texts[1]
    assert len(texts[0]) < 100_000


def test_loaded_plan_shrinks_without_its_graph(plan: ww.Plan, tmp_path: Path) -> None:
    """A plan from a file traces the network again and gives the same network."""
    plan.save(tmp_path / "plan.json")
    loaded = ww.Plan.load(tmp_path / "plan.json")
    assert loaded == plan
    model = net()
    a, b = ww.shrink(model, loaded), ww.shrink(model, plan)
    assert all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


@pytest.mark.parametrize("length", [0, 1, 40, 200, -3])
def test_truncated_file_is_refused(plan: ww.Plan, tmp_path: Path, length: int) -> None:
    """A file that was cut short is an error that says so, wherever it was cut."""
    path = tmp_path / "plan.json"
    path.write_text(plan.to_json()[:length])
    with pytest.raises(ww.errors.PlanError, match="Cannot read the plan"):
        ww.Plan.load(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"kept": "0-3"', '"kept": "0-9"'),
        ('"kept": "0-3"', '"kept": "3,1,0,2"'),
        ('"kept": "0-3"', '"kept": "x"'),
        ('"keeps": 4', '"keeps": 5'),
        ('"format": 2', '"format": 99'),
        ('"format": 2', '"format": "1"'),
        ('"format": 2', '"format": null'),
        ('"format": 2', '"format": true'),
        ('"axes"', '"axles"'),
        ('"macs": 6192', '"maps": 6192'),
        ('"budget": {"macs": 0.5}', '"budget": 0.5'),
        ('"seed": null', '"seed": "x"'),
        ('"versions": {', '"before": 3, "versions": {'),
        ('"versions": {', '"constraints": 3, "versions": {'),
    ],
)
def test_edited_nonsense_is_refused(plan: ww.Plan, tmp_path: Path, old: str, new: str) -> None:
    """Contradictions in the file are found when it is read."""
    text = plan.to_json()
    assert old in text
    (tmp_path / "plan.json").write_text(text.replace(old, new))
    with pytest.raises(ww.errors.PlanError, match="Cannot read the plan"):
        ww.Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"plan"', "{}"])
def test_json_that_is_no_plan_is_refused(tmp_path: Path, text: str) -> None:
    """Any other JSON is an error of ours, not of Python."""
    (tmp_path / "plan.json").write_text(text)
    with pytest.raises(ww.errors.PlanError, match="Cannot read the plan"):
        ww.Plan.load(tmp_path / "plan.json")


def test_missing_file_is_a_plan_error(tmp_path: Path) -> None:
    """A missing file is named."""
    with pytest.raises(ww.errors.PlanError, match=r"nowhere\.json"):
        ww.Plan.load(tmp_path / "nowhere.json")


def test_plan_for_another_network_is_refused(plan: ww.Plan) -> None:
    """A plan names what does not fit."""
    with pytest.raises(ww.errors.PlanError, match="8 units in the plan, 16 in the network"):
        ww.shrink(net(16), plan)
    with pytest.raises(ww.errors.PlanError, match="not in the network"):
        ww.shrink(nn.Sequential(nn.Conv2d(3, 4, 3)), plan)


class Halves(nn.Module):
    """Two convolutions side by side, added or multiplied with a third, all of one width."""

    def __init__(self, swap: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(3, 4, 1) for _ in range(3))
        self.last = nn.Conv2d(8, 2, 1)
        self.swap = swap

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = self.a(x), self.b(x), self.c(x)
        return self.last(torch.cat([a + c, b] if self.swap else [a, b + c], 1))


def test_other_ties_are_another_network() -> None:
    """Same names and widths, tied otherwise: the plan says what is tied only on one side."""
    image = torch.zeros(1, 3, 4, 4)
    model, other = Halves(False), Halves(True)
    graph, other_graph = ww.trace(model, image), ww.trace(other, image)
    assert {n: a.width for n, a in graph.axes.items()} == {
        n: a.width for n, a in other_graph.axes.items()
    }
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.7))
    with pytest.raises(ww.errors.PlanError, match=r"`a`: tied to c.bias:0.* only in the network"):
        plan.mask(other_graph)


def test_units_of_another_size_are_another_network() -> None:
    """Four units of one channel are not four units of two."""
    model = net()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    axis = replace(plan.axes["0"], unit_size=2)
    with pytest.raises(ww.errors.PlanError, match="2 channels a unit in the plan, 1 in the"):
        ww.shrink(model, replace(plan, axes={**plan.axes, "0": axis}))


def test_an_axis_that_is_frozen_here_is_not_narrowed(plan: ww.Plan) -> None:
    """The reason is given; an axis that keeps everything may be frozen or not."""
    model = net()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8), freeze=["0"])
    with pytest.raises(ww.errors.PlanError, match=r"narrowed by the plan, and frozen here: .*by n"):
        plan.mask(graph)
    whole = ww.Plan.of(ww.trace(model, torch.zeros(1, 3, 8, 8)), np.ones(graph.unit_count, bool))
    assert whole.mask(graph).all()


def test_masks_that_cannot_be_are_refused() -> None:
    """No plan removes a frozen unit or a whole axis."""
    model = net()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    nothing = np.zeros(graph.unit_count, bool)
    with pytest.raises(ww.errors.PlanError, match="`1` is frozen: network output"):
        ww.Plan.of(graph, nothing)
    with pytest.raises(ww.errors.PlanError, match="`0` would keep no unit"):
        ww.Plan.of(graph, nothing)


def test_diff_names_what_changed(plan: ww.Plan) -> None:
    """Two plans compare axis by axis."""
    model = net()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    other = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.25))
    assert plan.diff(plan) == "no difference"
    assert plan.diff(other) == "0: 4 -> 2 of 8, 2 in both"


def test_saving_over_a_plan_is_atomic(plan: ww.Plan, tmp_path: Path) -> None:
    """A failed write leaves the old file and no rubbish."""
    path = tmp_path / "plan.json"
    plan.save(path)
    before = path.read_text()
    with pytest.raises(OSError):
        plan.save(tmp_path / "missing" / "plan.json")
    assert path.read_text() == before
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_plan_is_sent_to_other_processes_without_its_graph(plan: ww.Plan) -> None:
    """Pickling and copying keep the plan and leave the graph behind."""
    for other in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan)):
        assert other == plan
        assert other.graph is None


# ------------------------------------------------------------------ rewrites


def widened() -> ww.Plan:
    """A plan of a network that is widened first."""
    model = net()
    graph = ww.trace(model, torch.zeros(1, 3, 8, 8))
    widen = ww.rewrites.Widen(2.0)
    wide_graph = ww.trace(widen.apply(model, graph.inputs), graph.inputs)
    kept = wide_graph.everything.copy()
    kept[wide_graph.axes["0"].units.start] = False
    return ww.Plan.of(wide_graph, kept, before=[widen], full_cost=costs_of(graph))


def test_rewrites_are_part_of_the_plan(tmp_path: Path) -> None:
    """What is done before the cut is saved, read, shown and compared."""
    plan = widened()
    plan.save(tmp_path / "plan.json")
    data = json.loads((tmp_path / "plan.json").read_text())
    assert data["before"] == [{"name": "widen", "factor": 2.0}]
    again = ww.Plan.load(tmp_path / "plan.json")
    assert again == plan and again.before == (ww.rewrites.Widen(2.0),)
    assert "before: widen(factor=2.0)" in str(plan)
    other = replace(plan, before=(ww.rewrites.Widen(3.0),))
    assert other != plan
    assert plan.diff(other) == "before: widen(factor=2.0) -> widen(factor=3.0)"


def test_costs_are_relative_to_the_users_own_network() -> None:
    """The full cost is that of the network before its rewrites; widths are those after them."""
    plan = widened()
    assert (plan.full_macs, plan.full_params) == (12384, 516)
    assert plan.macs() > plan.full_macs
    assert (plan.axes["0"].width, plan.widths["0"]) == (16, 15)


def test_unknown_rewrite_is_refused(tmp_path: Path) -> None:
    """A plan that starts with a rewrite nobody registered names it, and those that are known."""
    text = widened().to_json()
    (tmp_path / "plan.json").write_text(text.replace('"widen"', '"stretch"'))
    with pytest.raises(ww.errors.PlanError, match=r"^No rewrite is called 'stretch'.*widen"):
        ww.Plan.load(tmp_path / "plan.json")
    (tmp_path / "plan.json").write_text(text.replace('"factor": 2.0', '"factor": 0.5'))
    with pytest.raises(ww.errors.PlanError, match="at least 1"):
        ww.Plan.load(tmp_path / "plan.json")


@pytest.mark.parametrize("constraints", ["constraints", "wishes"])
def test_files_of_format_1_are_read(plan: ww.Plan, tmp_path: Path, constraints: str) -> None:
    """Old names of fields mean what they meant."""
    old = replace(plan, constraints={"freeze": ["1"]}, attributes={"head_size": (3,)})
    text = old.to_json().replace('"format": 2', '"format": 1')
    text = text.replace('"attributes"', '"rewrites"').replace('"constraints"', f'"{constraints}"')
    # Files had no checksum then.
    text = re.sub(r'  "checksum": .*\n', "", text)
    (tmp_path / "plan.json").write_text(text)
    assert ww.Plan.load(tmp_path / "plan.json") == old


class Widths(nn.Module):
    """Remembers a width under a name that does not say which one it is."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 8
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x))


def test_a_plan_lists_sizes_that_may_have_become_wrong(tmp_path: Path) -> None:
    """What may tell of a narrowed width and stays is in the plan, its file and its printout."""
    net = Widths()
    graph = ww.trace(net, torch.randn(1, 3, 4, 4))
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5))
    assert plan.stale == ("width",)
    assert "width" in str(plan).splitlines()[-1]
    plan.save(tmp_path / "plan.json")
    assert ww.Plan.load(tmp_path / "plan.json").stale == ("width",)
    assert ww.Plan.of(graph, graph.everything).stale == ()


def test_no_plan_goes_below_the_floor_of_an_axis() -> None:
    """A mask by hand is held to what the code runs with, before anything is cut."""

    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            x = self.first(x)
            return self.last(x) / (8 // (x.shape[1] // 2))

    net = Halves()
    graph = ww.trace(net, torch.randn(1, 3, 4, 4))
    mask = graph.smallest()
    ww.Plan.of(graph, mask)
    units = graph.axes["first"].units
    mask[units.start + 1 : units.stop] = False
    with pytest.raises(ww.errors.PlanError, match=r"`first` would keep 1.*2"):
        ww.Plan.of(graph, mask)


def twice_cut() -> nn.Module:
    """Three convolutions and a normalisation."""
    convolutions = (
        nn.Conv2d(3, 12, 3),
        nn.BatchNorm2d(12),
        nn.Conv2d(12, 10, 3),
        nn.Conv2d(10, 4, 1),
    )
    return nn.Sequential(*convolutions)


def test_two_cuts_are_one_plan_of_the_full_network(tmp_path: Path) -> None:
    """Kept units are counted in the full network; the file needs nothing but its class."""
    model, inputs = twice_cut().eval(), torch.randn(2, 3, 9, 9)
    first = ww.plan(ww.trace(model, inputs), score=ww.scores.L1(), budget=ww.Macs(0.7), round_to=1)
    once = ww.shrink(model, first)
    second = ww.plan(ww.trace(once, inputs), score=ww.scores.L1(), budget=ww.Macs(0.6), round_to=1)
    twice = ww.shrink(once, second)
    both = first.then(second)
    assert both.macs() == second.macs() < first.macs() < both.full_macs == first.full_macs
    for name, axis in both.axes.items():
        kept = [first.axes[name].kept[unit] for unit in second.axes[name].kept]
        assert list(axis.kept) == kept
    with torch.no_grad():
        assert torch.equal(ww.shrink(model, both)(inputs), twice(inputs))
    ww.save(twice, both, tmp_path)
    again = ww.load(tmp_path, twice_cut).eval()
    assert torch.equal(again(inputs), twice(inputs))
    with pytest.raises(ww.errors.PlanError, match="units are left of it"):
        first.then(first)
    with pytest.raises(ww.errors.PlanError, match=r"first\.then\(second\)"):
        ww.shrink(model, second)
