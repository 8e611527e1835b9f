"""The latents of a network as a handle: what a step moves, what is alive, what counts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD

import widthwise as ww
from widthwise.errors import ConfigError, SearchError
from widthwise.search.handles import Latents
from widthwise.search.limits import Limits

IMAGE = torch.zeros(1, 3, 8, 8)


def chain() -> nn.Sequential:
    """Two free axes of 6 and 8 channels, and the output."""
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.Conv2d(6, 8, 3), nn.Conv2d(8, 2, 3))


def attached(net: nn.Module, **options) -> tuple[ww.ChannelGraph, Latents]:
    """Latents on a network, attached."""
    graph = ww.trace(net, IMAGE)
    settings = {"limits": Limits(), "sparsity": 0.5, "prune_threshold": 0.1, **options}
    latents = Latents(graph, net, **settings)
    latents.attach()
    return graph, latents


@pytest.mark.parametrize(
    ("option", "value"),
    [("sparsity", -1.0), ("sparsity", float("inf")), ("prune_threshold", float("nan"))],
)
def test_pressure_out_of_range_is_named(option: str, value: float) -> None:
    """The two numbers of the pressure are checked before anything is attached."""
    net = chain()
    with pytest.raises(ConfigError, match=f"`{option}` must be a finite number"):
        attached(net, **{option: value})
    assert type(net[0]) is nn.Conv2d


def test_a_step_moves_by_the_learning_rate_times_the_sparsity() -> None:
    """Free latents move towards zero by that much; those of the classes stay."""
    net = chain()
    graph, latents = attached(net)
    before = latents.latents.detach().clone()
    latents.step(SGD(net.parameters(), lr=0.2))
    moved = before.sign() * (before.abs() - 0.1).clamp_min(0)
    free = torch.from_numpy(graph.free.copy())
    torch.testing.assert_close(latents.latents.detach(), torch.where(free, moved, before))


def test_no_pressure_moves_nothing() -> None:
    """With a sparsity of zero a step is exact."""
    net = chain()
    _, latents = attached(net, sparsity=0.0)
    before = latents.latents.detach().clone()
    latents.step(SGD(net.parameters(), lr=0.2))
    assert torch.equal(latents.latents, before)


def test_alive_are_those_above_the_threshold_and_the_floor() -> None:
    """The threshold counts, the largest of an axis stay up to its floor, frozen ones always."""
    net = chain()
    graph, latents = attached(net, limits=Limits(min_width=2))
    with torch.no_grad():
        latents.latents.zero_()
        latents.latents[graph.axes["0"].units] = torch.tensor([0.05, -0.3, 0.01, 0.1, 0.0, 0.2])
        latents.latents[graph.axes["1"].units.start + 5] = 0.02
    alive = latents.alive()
    assert alive[graph.axes["0"].units].tolist() == [False, True, False, True, False, True]
    assert alive[graph.axes["1"].units].tolist() == [True, False, False, False, False, True] + (
        [False] * 2
    )
    assert alive[graph.axes["2"].units].all()


def test_importance_is_the_magnitude_of_the_latents() -> None:
    """One number per unit, in the order of the graph, whatever the sign."""
    net = chain()
    graph, latents = attached(net)
    importance = latents.importance()
    assert importance.dtype == np.float64
    np.testing.assert_allclose(importance, latents.latents.detach().abs().double().numpy())
    assert importance.shape == (graph.unit_count,)


@pytest.mark.parametrize("question", ["alive", "importance"])
def test_diverged_latents_give_no_answer(question: str) -> None:
    """NaN latents are an error wherever they are read, so on an accelerator at every check."""
    net = chain()
    _, latents = attached(net)
    with torch.no_grad():
        latents.latents[0] = torch.nan
    with pytest.raises(SearchError, match="no longer finite"):
        getattr(latents, question)()


def test_axis_outside_the_limits_is_not_pressed() -> None:
    """Latents of an axis that may not be narrowed stay, and it counts as alive."""
    net = chain()
    graph, latents = attached(net, limits=Limits(exclude="0"), sparsity=100.0)
    before = latents.latents.detach().clone()
    latents.step(SGD(net.parameters(), lr=1.0))
    units = graph.axes["0"].units
    assert torch.equal(latents.latents[units], before[units])
    assert not latents.latents[graph.axes["1"].units].any()
    assert latents.alive()[units].all()


def test_default_device_changes_nothing() -> None:
    """Latents and hypernetwork are drawn on the CPU and live where the network is."""
    net = chain()
    graph = ww.trace(net, IMAGE)
    settings = {"limits": Limits(), "sparsity": 0.5, "prune_threshold": 0.1}
    expected = Latents(graph, net, **settings)
    # No accelerator is needed: what is made on the default device by mistake has no values.
    with torch.device("meta"):
        found = Latents(graph, net, **settings)
    for one, other in zip(expected.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, other)
