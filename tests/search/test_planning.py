"""Scores and budgets to plans: exactness, limits, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchvision
from torch import nn

import widthwise as ww


@pytest.fixture(scope="module")
def resnet() -> nn.Module:
    """A ResNet-18 with fixed weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return torchvision.models.resnet18()


@pytest.fixture(scope="module")
def graph(resnet: nn.Module) -> ww.ChannelGraph:
    """Its graph."""
    return ww.trace(resnet, torch.zeros(1, 3, 64, 64))


@pytest.mark.parametrize("score", [ww.scores.L1(), ww.scores.L2(), ww.scores.Uniform()])
@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.1])
def test_below_the_budget_by_less_than_one_unit(
    graph: ww.ChannelGraph, score: object, fraction: float
) -> None:
    """No removed unit could be put back within the budget."""
    plan = ww.plan(graph, score=score, budget=ww.Macs(fraction), round_to=1)
    allowed = fraction * graph.macs()
    assert plan.macs() <= allowed
    mask = plan.mask(graph)
    for axis in graph.axes.values():
        gone = np.flatnonzero(~mask[axis.units])
        if len(gone):
            more = mask.copy()
            more[axis.units.start + gone[0]] = True
            assert graph.macs(more) > allowed


def test_lowest_scores_go_first() -> None:
    """Within an axis the kept units are those with the highest scores."""
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    graph = ww.trace(net, torch.zeros(1, 2))
    scores = np.zeros(graph.unit_count)
    scores[graph.axes["0"].units] = [3, 1, 4, 2]
    plan = ww.plan(graph, score=lambda _: scores, budget=ww.Macs(0.5))
    assert plan.kept["0"].tolist() == [0, 2]


def test_round_to_counts_channels(graph: ww.ChannelGraph) -> None:
    """Every narrowed axis keeps a multiple of `round_to` channels."""
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), round_to=8)
    assert all(w % 8 == 0 for n, w in plan.widths.items() if w < graph.axes[n].width)
    assert any(w < graph.axes[n].width for n, w in plan.widths.items())


def test_what_is_put_back_keeps_the_alignment() -> None:
    """Units of a small last step do not return where the step inside it is too dear."""
    net = nn.Sequential(nn.Linear(2, 10, bias=False), nn.Linear(10, 1, bias=False))
    graph = ww.trace(net, torch.zeros(1, 2))
    # A unit costs 3 MACs, and the widths are 10, 8 and 4: six units would fit, eight do not.
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(20), round_to=4)
    assert plan.widths["0"] == 4


def test_floors_hold(graph: ww.ChannelGraph) -> None:
    """`min_width` and `min_keep` hold for every axis."""
    plan = ww.plan(
        graph, score=ww.scores.Random(1), budget=ww.Macs(0.35), min_width=40, min_keep=0.25
    )
    for name, width in plan.widths.items():
        full = graph.axes[name].width
        assert width >= min(full, max(40, full / 4))


def test_include_and_exclude_take_names_and_globs(graph: ww.ChannelGraph) -> None:
    """Only included axes are narrowed, and no excluded one."""
    plan = ww.plan(
        graph,
        score=ww.scores.L1(),
        budget=ww.Macs(0.8),
        include=["layer*"],
        exclude=["layer1.*", "layer2.0.conv1"],
    )
    narrowed = {n for n, w in plan.widths.items() if w < graph.axes[n].width}
    assert narrowed
    assert all(n.startswith("layer") and not n.startswith("layer1.") for n in narrowed)
    assert "layer2.0.conv1" not in narrowed


def test_a_name_that_matches_nothing_is_an_error(graph: ww.ChannelGraph) -> None:
    """A typo is refused, with the nearest names."""
    with pytest.raises(ww.errors.ConfigError, match=r"layer1\.0\.conv1"):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), exclude=["layer1.0.con1"])


def test_several_budgets_are_all_met(graph: ww.ChannelGraph) -> None:
    """A list of budgets is met as a whole."""
    plan = ww.plan(
        graph, score=ww.scores.L1(), budget=[ww.Macs(0.6), ww.Params("30%"), ww.Memory(0.7)]
    )
    assert plan.macs() <= 0.6 * graph.macs()
    assert plan.params() <= 0.3 * graph.params()
    mask = plan.mask(graph)
    assert ww.Memory(0.7).cost(graph, mask) <= 0.7 * ww.Memory(1.0).cost(graph, graph.everything)


def test_unreachable_budget_says_what_is_reachable_and_what_holds_it(
    graph: ww.ChannelGraph,
) -> None:
    """The error has the smallest reachable cost, its largest holders and the way out."""
    with pytest.raises(ww.errors.BudgetError) as caught:
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.05), min_keep=0.5)
    text = str(caught.value)
    with pytest.raises(ww.errors.BudgetError):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.2), min_keep=0.5)
    ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.3), min_keep=0.5)
    assert "smallest reachable value" in text
    assert "keeps 32 of 64 units at least" in text
    assert "min_keep" in text


@pytest.mark.parametrize(
    "option", [{"min_width": 0}, {"min_keep": 1.5}, {"min_keep": -0.1}, {"round_to": 0}]
)
def test_limits_out_of_range_are_named(graph: ww.ChannelGraph, option: dict) -> None:
    """A limit that makes no sense is refused by its name."""
    with pytest.raises(ww.errors.ConfigError, match=next(iter(option))):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5), **option)


def test_scores_of_nan_weights_are_refused() -> None:
    """Weights that are NaN do not silently decide a plan."""
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1))
    net[0].weight.data[1, 1] = float("nan")
    with pytest.raises(ww.errors.ConfigError, match="not finite, first `0`"):
        ww.plan(ww.trace(net, torch.zeros(1, 2)), score=ww.scores.L1(), budget=ww.Macs(0.5))


def test_weight_scores_need_weights() -> None:
    """A network on the meta device has no magnitudes, and the error says which score works."""
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 1)).to("meta")
    graph = ww.trace(net, torch.zeros(1, 2))
    with pytest.raises(ww.errors.ConfigError, match="Uniform"):
        ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    assert ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5)).widths["0"] == 2


def test_uniform_keeps_the_same_share_of_every_axis(graph: ww.ChannelGraph) -> None:
    """Uniform widths differ by less than a unit, or two where the budget's rest was put back."""
    plan = ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(0.5), round_to=1)
    shares = {
        n: w / graph.axes[n].width for n, w in plan.widths.items() if not graph.axes[n].frozen
    }
    middle = float(np.median(list(shares.values())))
    assert all(abs(s - middle) * graph.axes[n].width <= 2 for n, s in shares.items())


def test_random_is_a_function_of_its_seed(graph: ww.ChannelGraph) -> None:
    """The same seed gives the same scores, another seed others."""
    first, again, other = (ww.scores.Random(seed)(graph) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
