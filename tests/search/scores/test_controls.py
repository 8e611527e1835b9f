"""The controls: scores that look at no weight."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError


def graph_of_meta() -> ww.ChannelGraph:
    """Widths 4 and 8, without weights."""
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 1)).to("meta")
    graph = ww.trace(net, torch.zeros(1, 2, device="meta"))
    graph.kept_alive = net  # type: ignore[attr-defined]
    return graph


def test_uniform_removes_the_last_channels_of_every_axis_alike() -> None:
    """The score of a unit is the share of its axis that is left from it on."""
    graph = graph_of_meta()
    scores = ww.scores.Uniform()(graph)
    assert scores[graph.axes["0"].units].tolist() == [1.0, 0.75, 0.5, 0.25]
    assert scores[graph.axes["1"].units].tolist() == [1 - i / 8 for i in range(8)]


def test_uniform_plans_keep_the_first_channels() -> None:
    """Uniform narrowing is what a width multiplier does: the first channels stay."""
    plan = ww.plan(graph_of_meta(), score=ww.scores.Uniform(), budget=ww.Macs(16))
    assert all(kept.tolist() == list(range(len(kept))) for kept in plan.kept.values())
    assert plan.widths == {"0": 2, "1": 4, "2": 1}


def test_uniform_widths_may_keep_what_another_score_says() -> None:
    """As wide as ever, and the widest filters stay instead of the first ones."""
    net = nn.Sequential(nn.Linear(2, 4), nn.Linear(4, 8), nn.Linear(8, 1))
    with torch.no_grad():
        for number, size in enumerate((1.0, 3.0, 2.0, 4.0)):
            net[0].weight[number] = size
    graph = ww.trace(net, torch.zeros(1, 2))
    score = ww.scores.Uniform(by=ww.scores.L1())
    plan = ww.plan(graph, score=score, budget=ww.Macs(16))
    assert plan.widths == ww.plan(graph, score=ww.scores.Uniform(), budget=ww.Macs(16)).widths
    assert plan.kept["0"].tolist() == [1, 3]
    with pytest.raises(ConfigError, match=r"ww\.scores\.L1\(\)"):
        ww.scores.Uniform(by=ww.scores.L1)
    assert repr(score) == "Uniform(by=L1())" and repr(ww.scores.Uniform()) == "Uniform()"


def test_random_scores_are_uniform_numbers_of_a_seed() -> None:
    """A score per unit within [0, 1), the same for the same seed, all of them different."""
    graph = graph_of_meta()
    scores = ww.scores.Random(5)(graph)
    assert scores.shape == (graph.unit_count,)
    assert ((scores >= 0) & (scores < 1)).all()
    assert len(np.unique(scores)) == graph.unit_count
    assert np.array_equal(scores, ww.scores.Random(5)(graph))
    assert not np.array_equal(scores, ww.scores.Random()(graph))
