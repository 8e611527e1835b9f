"""Every rewrite of layers is part of a plan: narrowed, proven, saved and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import widthwise as ww
from widthwise.models.registry import resolve
from widthwise.rewrites import (
    ClusterKernels,
    Decompose,
    Factorise,
    FilterBasis,
    FilterGroups,
    Kind,
    Rewrite,
)

LAYERS = "layer3.*.conv2"


@pytest.mark.parametrize(
    "rewrite",
    [
        ClusterKernels(LAYERS, 16),
        Decompose(LAYERS, Kind.SVD),
        Factorise(LAYERS),
        FilterBasis(LAYERS, 16, 32),
        FilterGroups(LAYERS, 8),
    ],
    ids=lambda rewrite: rewrite.name,
)
def test_a_rewritten_network_is_narrowed_saved_and_loaded(rewrite: Rewrite, tmp_path: Path) -> None:
    """No dim freezes; the class of the network and the folder are enough to have it again."""
    torch.manual_seed(0)
    model, x = resolve("widthwise/resnet20").build().eval(), torch.randn(1, 3, 32, 32)
    rewritten = rewrite.apply(model, x)
    graph = ww.trace(rewritten, x)
    assert [axis.name for axis in graph.axes.values() if axis.frozen] == ["fc"]
    kept = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6)).mask(graph)
    plan = ww.Plan.of(graph, kept, before=[rewrite])
    small = ww.shrink(model, plan)
    assert ww.trace(small, x).macs() <= 0.6 * graph.macs()
    ww.save(small, plan, tmp_path)
    again = ww.load(tmp_path, resolve("widthwise/resnet20").build).eval()
    assert torch.equal(again(x), small.eval()(x))
