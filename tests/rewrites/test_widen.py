"""Widening: every free axis several times as wide, and what that promises to a search."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import oracles
import widthwise as ww
from cases import BY_NAME, Case, every_case
from widthwise.rewrites import Widen

IMAGE = torch.zeros(1, 3, 64, 64)


def base(name: str) -> str:
    """The name of an axis without the part of its layer, which depends on widths."""
    return name.partition("[")[0]


def first_units(wide: ww.ChannelGraph, narrow: ww.ChannelGraph) -> np.ndarray:
    """The mask of the wide network that keeps as many units of every axis as the other has."""
    kept = wide.everything.copy()
    for axis, original in zip(wide.axes.values(), narrow.axes.values(), strict=True):
        own = np.zeros(axis.width, bool)
        own[: original.width] = True
        kept[axis.units] = own
    return kept


def check(model: nn.Module, inputs: Any, factor: float) -> None:
    """Widths, the way back, its costs, its shapes and its proof."""
    graph = ww.trace(model, inputs)
    wide = Widen(factor).apply(model, inputs)
    wide_graph = ww.trace(wide, inputs)
    expected = [
        (
            base(name),
            axis.frozen,
            math.floor(factor * axis.width + 0.5)
            if axis.frozen is None and axis.width > 1
            else axis.width,
        )
        for name, axis in graph.axes.items()
    ]
    found = [(base(name), axis.frozen, axis.width) for name, axis in wide_graph.axes.items()]
    assert found == expected
    kept = first_units(wide_graph, graph)
    assert wide_graph.macs(kept) == graph.macs() == oracles.macs(model, inputs)
    assert wide_graph.macs() == oracles.macs(wide, inputs)
    back = ww.shrink(wide, ww.Plan.of(wide_graph, kept))
    shapes = {name: value.shape for name, value in model.state_dict().items()}
    assert {name: value.shape for name, value in back.state_dict().items()} == shapes
    oracles.call(back, inputs)


@every_case()
@pytest.mark.parametrize("factor", [2.0, 1.5])
def test_a_widened_network_can_be_cut_back(case: Case, factor: float) -> None:
    """Free axes are `factor` times as wide; cut back, costs and shapes are the original's."""
    check(case.build(), case.example_inputs, factor)


@pytest.mark.parametrize(
    "build",
    [
        torchvision.models.resnet50,
        torchvision.models.mobilenet_v2,
        torchvision.models.efficientnet_b0,
        torchvision.models.regnet_x_400mf,
        torchvision.models.densenet121,
        torchvision.models.convnext_tiny,
    ],
    ids=lambda build: build.__name__,
)
def test_published_networks_can_be_widened_and_cut_back(build: Any) -> None:
    """The same, for networks with groups, depth-wise layers, concatenation and layer scales."""
    check(build().eval(), IMAGE, 2.0)


@every_case()
def test_a_factor_of_one_changes_nothing(case: Case) -> None:
    """Every tensor and every output is the same, bit for bit."""
    model, inputs = case.build(), case.example_inputs
    same = Widen(1.0).apply(model, inputs)
    pairs = zip(model.state_dict().values(), same.state_dict().values(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    outputs = zip(oracles.outputs(model, inputs), oracles.outputs(same, inputs), strict=True)
    assert all(torch.equal(one, other) for one, other in outputs)


def test_the_network_it_is_given_stays_as_it_was() -> None:
    """Widening changes no shape, no attribute and no value of the original."""
    case = BY_NAME["grouped_conv"]
    model = case.build()
    before, text = {k: v.clone() for k, v in model.state_dict().items()}, repr(model)
    ww.widen(model, case.example_inputs, 3)
    assert repr(model) == text
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_whole_groups_are_repeated() -> None:
    """A grouped convolution gets more groups, of the size they had; a depth-wise one stays one."""
    model = torchvision.models.regnet_x_400mf()
    wide = ww.widen(model, IMAGE, 2)
    pairs = list(zip(model.modules(), wide.modules(), strict=True))
    grouped = [(a, b) for a, b in pairs if isinstance(a, nn.Conv2d) and a.groups > 1]
    assert grouped
    for old, new in grouped:
        assert (new.groups, new.in_channels) == (2 * old.groups, 2 * old.in_channels)
        assert new.weight.shape[1] == old.weight.shape[1]


def test_neighbours_of_one_unit_are_repeated_together() -> None:
    """The four channels that a pixel shuffle makes a pixel of are copied side by side."""
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.PixelShuffle(2), nn.Conv2d(4, 3, 1))
    wide = Widen(2.0).apply(model, torch.zeros(1, 3, 4, 4))
    rows = torch.arange(16).reshape(4, 1, 4).expand(4, 2, 4).flatten()
    assert torch.equal(wide[0].weight, model[0].weight[rows])
    assert torch.equal(wide[2].weight, model[2].weight[:, [0, 0, 1, 1, 2, 2, 3, 3]])


def test_sizes_that_a_module_remembers_follow() -> None:
    """Heads that were asked for stay; the size of each, and the widths of keys, follow."""
    case = BY_NAME["mha"]
    wide = ww.widen(case.build(), case.example_inputs, 2)
    attention = wide.attention
    assert (attention.embed_dim, attention.kdim, attention.vdim) == (16, 16, 16)
    assert (attention.num_heads, attention.head_dim) == (2, 8)


def test_excluded_and_frozen_layers_stay() -> None:
    """An axis that is excluded by glob, or whose module is frozen, is as wide as before."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, 1), nn.Conv2d(5, 6, 1))
    inputs = torch.zeros(1, 3, 4, 4)
    wide = ww.widen(model, inputs, 2, exclude="0*")
    assert [layer.out_channels for layer in wide] == [4, 10, 6]
    wide = Widen(2.0, freeze=("1",)).apply(model, inputs)
    assert [layer.out_channels for layer in wide] == [4, 5, 6]
    with pytest.raises(ww.errors.ConfigError, match="`exclude` names no axis"):
        ww.widen(model, inputs, 2, exclude=["layer7"])


def test_fresh_weights_are_drawn_at_the_new_width() -> None:
    """No two channels are copies, and weights spread as a layer of that width draws them."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64), nn.Conv2d(64, 8, 3))
    with torch.no_grad():
        for tensor in model.state_dict().values():
            tensor.zero_()
    wide = ww.widen(model, torch.zeros(1, 3, 9, 9), 4)
    assert len(wide[0].weight.flatten(1).unique(dim=0)) == 256
    bound = 1 / math.sqrt(256 * 9)
    assert 0.9 * bound < float(wide[2].weight.detach().abs().max()) <= bound
    assert torch.equal(wide[1].running_var, torch.ones(256))


def test_the_constructor_draws_the_weights_where_it_is_known() -> None:
    """With a factory, the spread of a layer is that of the network's own initialisation."""
    build = torchvision.models.mobilenet_v2
    model = build()
    wide = ww.widen(model, IMAGE, 2, factory=build)
    old, new = model.features[5].conv[2].weight, wide.features[5].conv[2].weight
    # Kaiming's, by the number of outputs: half the variance at twice the width.
    ratio = float(new.detach().std() / old.detach().std())
    assert ratio == pytest.approx(2**-0.5, rel=0.05)


def test_what_no_module_draws_is_repeated_and_said() -> None:
    """Layer scales keep their values; everything else is fresh all the same."""
    model = torchvision.models.convnext_tiny()
    with torch.no_grad():
        model.features[1][0].layer_scale.fill_(0.25)
    with pytest.warns(UserWarning, match=r"(?s)repeated, not fresh.*factory="):
        wide = ww.widen(model, IMAGE, 2)
    assert wide.features[1][0].layer_scale.unique().tolist() == [0.25]
    rows = wide.features[0][0].weight.detach().flatten(1)
    assert len(rows.unique(dim=0)) == len(rows) == 192


def test_a_network_without_weights_is_widened() -> None:
    """On the meta device shapes are all there is, and all that is needed."""
    with torch.device("meta"):
        model = torchvision.models.mobilenet_v2()
    wide = ww.widen(model, IMAGE, 1.5)
    assert all(parameter.is_meta for parameter in wide.parameters())
    assert wide.features[0][0].out_channels == 48


@pytest.mark.parametrize("factor", [0.5, 0, -2, math.inf, math.nan])
def test_a_factor_that_does_not_widen_is_refused(factor: float) -> None:
    """Narrower networks are what plans are for."""
    with pytest.raises(ww.errors.ConfigError, match="at least 1"):
        Widen(factor)


class Capped(nn.Module):
    """Reads at most 12 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(3, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x)[:, :12])


def test_code_with_a_largest_width_is_named() -> None:
    """A network that runs narrower and not wider is told so, with the way out."""
    with pytest.raises(ww.errors.TraceError, match="does not run when") as caught:
        ww.widen(Capped(), torch.zeros(1, 3), 2)
    assert "exclude" in str(caught.value)
    assert ww.widen(Capped(), torch.zeros(1, 3), 1.5).first.out_features == 12


def test_a_rewrite_is_written_and_read_by_name() -> None:
    """Every field survives plain JSON values; fields that say nothing are not written."""
    full = Widen(1.5, exclude=("a*",), freeze=("b",), tie=(("c", "d"),))
    assert ww.rewrites.from_spec(ww.rewrites.to_spec(full)) == full
    assert Widen(2.0, exclude="a*").exclude == ("a*",)
    assert ww.rewrites.to_spec(Widen(2.0)) == {"name": "widen", "factor": 2.0}
