"""Floors, alignment and the choice of axes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.search.limits import Limits

IMAGE = torch.zeros(1, 3, 8, 8)


def chain() -> nn.Sequential:
    """Three convolutions; the first two have axes of 20 and 24 channels."""
    return nn.Sequential(nn.Conv2d(3, 20, 3), nn.Conv2d(20, 24, 3), nn.Conv2d(24, 2, 3))


def test_a_step_counts_units_of_several_channels() -> None:
    """Before a pixel shuffle a unit is four channels: two of them are a multiple of eight."""
    net = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.PixelShuffle(2), nn.Conv2d(16, 2, 3))
    graph = ww.trace(net, IMAGE)
    axis = graph.axes["0"]
    assert (axis.unit_size, axis.width) == (4, 16)
    limits = Limits(round_to=8)
    assert limits.step(axis) == 2
    assert limits.widths(axis) == [16, 14, 12, 10, 8, 6, 4, 2]
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.4), round_to=8)
    assert plan.widths["0"] == 6
    assert ww.shrink(net, plan)[0].out_channels == 24


@pytest.mark.parametrize(("round_to", "step"), [(8, 4), (6, 1), (12, 2), (4, 2), (5, 5), (1, 1)])
def test_a_step_of_grouped_channels_is_the_least_that_aligns(round_to: int, step: int) -> None:
    """Groups of six channels: as few groups as have a common multiple of both."""
    grouped = nn.Conv2d(48, 48, 3, groups=8, padding=1)
    net = nn.Sequential(nn.Conv2d(3, 48, 1), grouped, nn.Conv2d(48, 2, 1))
    axis = ww.trace(net, IMAGE).axes["0"]
    assert (axis.unit_size, axis.width) == (6, 8)
    limits = Limits(round_to=round_to)
    assert limits.step(axis) == step
    assert all(width * 6 % round_to == 0 for width in limits.widths(axis)[1:])


def test_a_floor_is_aligned_upwards() -> None:
    """Floors in units and as keep ratios hold after alignment, up to the full width."""
    graph = ww.trace(chain(), IMAGE)
    axis = graph.axes["0"]
    assert Limits(min_width=3, round_to=8).floor(axis) == 8
    assert Limits(min_keep=0.45, round_to=8).floor(axis) == 16
    assert Limits(min_width=17, round_to=8).floor(axis) == 20
    assert Limits(min_width=17, round_to=8).widths(axis) == [20]
    assert Limits(min_width=7, min_keep=0.1).floor(axis) == 7


def test_widths_of_wide_axes_are_multiples_of_8_unless_asked_otherwise() -> None:
    """From 32 channels on, counting channels and not units; narrower axes keep any width."""
    graph = ww.trace(
        nn.Sequential(nn.Conv2d(3, 31, 1), nn.Conv2d(31, 32, 1), nn.Conv2d(32, 2, 1)), IMAGE
    )
    narrow, wide = graph.axes["0"], graph.axes["1"]
    assert Limits().widths(narrow)[:3] == [31, 30, 29]
    assert Limits().widths(wide) == [32, 24, 16, 8]
    assert Limits(round_to=1).widths(wide)[:3] == [32, 31, 30]
    of_two = dataclasses.replace(narrow, unit_size=2)
    assert Limits().widths(of_two)[:3] == [31, 28, 24]
    assert Limits(min_width=5).floor(of_two) == 4
    # Of fewer than sixteen such units, any number may stay: four by four leaves no choice.
    of_thirty = dataclasses.replace(graph.axes["0"], unit_size=30, units=slice(0, 15))
    assert Limits().widths(of_thirty)[:3] == [15, 14, 13]
    of_thirty = dataclasses.replace(graph.axes["0"], unit_size=30, units=slice(0, 16))
    assert Limits().widths(of_thirty) == [16, 12, 8, 4]


def test_floors_count_channels() -> None:
    """Of units of several channels, fewer are enough."""
    axis = ww.trace(chain(), IMAGE).axes["0"]
    of_three = dataclasses.replace(axis, unit_size=3)
    assert Limits(min_width=7).floor(axis) == 7
    assert Limits(min_width=7, round_to=1).floor(of_three) == 3


def test_a_share_that_is_whole_is_not_rounded_up() -> None:
    """55 % of 100 units are 55, though the product of the two floats is a little more."""
    graph = ww.trace(nn.Sequential(nn.Conv2d(3, 100, 1), nn.Conv2d(100, 2, 1)), IMAGE)
    axis = graph.axes["0"]
    assert 0.55 * 100 > 55
    assert Limits(min_keep=0.55, round_to=1).floor(axis) == 55
    assert Limits(min_keep=0.551, round_to=1).floor(axis) == 56


def test_a_keep_ratio_per_name_is_the_largest_that_matches() -> None:
    """Several names or globs may match an axis; axes that none matches have no floor."""
    graph = ww.trace(chain(), IMAGE)
    limits = Limits(min_keep={"[01]": 0.5, "1": 0.25})
    assert [limits.floor(graph.axes[name]) for name in ("0", "1")] == [10, 12]
    assert Limits(min_keep={"1": 0.25}).floor(graph.axes["0"]) == 1


@pytest.mark.parametrize("option", ["include", "exclude"])
def test_a_single_name_is_one_name(option: str) -> None:
    """A string names one axis, not one per letter, in plans and in searches alike."""

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = nn.Conv2d(3, 20, 3)
            self.other = nn.Conv2d(20, 24, 3)
            self.last = nn.Conv2d(24, 2, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.last(self.other(self.wide(x)))

    net = Named()
    graph = ww.trace(net, IMAGE)
    named = {axis.name for axis in Limits(**{option: "wide"}).axes(graph)}
    assert named == {axis.name for axis in Limits(**{option: ["wide"]}).axes(graph)}
    assert ("wide" in named) == (option == "include")
    search = ww.methods.dhp(net, IMAGE, budget=ww.Macs(0.9), **{option: "wide"})
    _, plan = search.finish()
    assert (plan.widths["wide"] == 20) == (option == "exclude")
    assert plan.macs() < plan.full_macs


def test_only_leaves_axes_with_unknown_units_whole() -> None:
    """An axis of which one unit cannot be told apart is not narrowed; names given before stay."""
    graph = ww.trace(chain(), IMAGE)
    known = np.ones(graph.unit_count, bool)
    known[graph.axes["1"].units.start] = False
    assert [axis.name for axis in Limits().only(graph, known).axes(graph)] == ["0"]
    assert Limits(exclude="0").only(graph, known).axes(graph) == []


@pytest.mark.parametrize(
    "options", [{"min_width": 0}, {"min_keep": 1.01}, {"min_keep": {"0": -1}}, {"round_to": 0}]
)
def test_what_makes_no_sense_is_refused_by_name(options: dict) -> None:
    """A limit out of range is an error that names it."""
    with pytest.raises(ConfigError, match=next(iter(options))):
        Limits(**options)
