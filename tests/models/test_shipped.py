"""Every network we ship can be traced, cut with proof, and searched."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.models import list_models, resolve
from widthwise.shrinking.proof import prove

# One of each kind of structure, small enough for every run.
QUICK: list[tuple[str, dict[str, Any]]] = [
    ("resnet20", {}),
    ("resnet20", {"shortcut": "A"}),
    ("resnet20", {"depth": 29}),
    ("resnet20", {"depth": 11, "shortcut": "A"}),
    ("resnext20", {}),
    ("densenet40", {}),
    ("vgg16_bn", {"width_mult": 0.25, "head": "linear3"}),
    ("wrn16_10", {"widen": 2}),
    ("mobilenet_v2", {"width_mult": 0.25}),
    ("mobilenet_v3_small", {"width_mult": 0.25}),
    ("shufflenet_v2", {"width_mult": 0.5}),
    ("efficientnet_b0", {"width_mult": 0.25, "image_size": 64}),
    ("dncnn", {"features": 32, "blocks": 4}),
    ("dncnn", {"features": 32, "blocks": 3, "norm": False}),
    ("unet", {"features": 8, "levels": 3}),
    ("srresnet", {"features": 16, "blocks": 2, "scale": 3}),
    ("edsr", {"features": 16, "blocks": 2, "scale": 2, "res_scale": 0.1}),
]
# Trackers take several inputs, and are held to more in files of their own.
NAMES = [
    name.partition("/")[2]
    for name in list_models("widthwise/*")
    if not resolve(name).further_shapes
]
CASES = [
    *(pytest.param(*case, id=f"{case[0]}-{case[1]}") for case in QUICK),
    *(
        pytest.param(name, {}, id=name, marks=pytest.mark.slow)
        for name in NAMES
        if (name, {}) not in QUICK
    ),
]
HALF = ww.Macs(0.5)


def build(name: str, options: dict[str, Any]) -> tuple[nn.Module, torch.Tensor]:
    """A network with random weights, and two images for it."""
    torch.manual_seed(0)
    spec = resolve(f"widthwise/{name}")
    return spec.build(**options), torch.randn(2, *spec.input_shape[1:])


@pytest.mark.parametrize(("name", "options"), CASES)
def test_half_the_macs_with_proof(name: str, options: dict[str, Any]) -> None:
    """Only outputs are frozen, and L1 lands just below half the MACs with proof."""
    model, images = build(name, options)
    graph = ww.trace(model.eval(), images)
    frozen = {axis.frozen for axis in graph.axes.values() if axis.frozen is not None}
    assert frozen == {"network output"}
    plan = ww.plan(graph, score=ww.scores.L1(), budget=HALF, round_to=1)
    small = ww.shrink(model, plan, verify=False)
    assert 0.49 < plan.macs() / graph.macs() <= 0.5
    assert prove(model, small, plan).error < 1e-5


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_search_ends_in_a_network_within_budget(name: str, options: dict[str, Any]) -> None:
    """After two steps of DHP the search is finished, with proof, below half the MACs."""
    model, images = build(name, options)
    search = ww.methods.dhp(model, images, budget=HALF, round_to=1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    for _ in range(2):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images).flatten(1), torch.tensor([1, 7])).backward()
        optimizer.step()
        search.step(optimizer)
    small, plan = search.finish()
    assert plan.macs() <= 0.5 * plan.full_macs
    assert small(images).shape == model(images).shape
