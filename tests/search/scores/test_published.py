"""Published scores of weights against their formulas, written out for one layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import widthwise as ww
from cases import CASES
from widthwise.errors import ConfigError

IMAGE = torch.zeros(1, 3, 8, 8)


def two_convolutions() -> nn.Sequential:
    """Two convolutions with fixed random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 5, 3))


def weights_of_units(net: nn.Sequential) -> list[np.ndarray]:
    """All weights of the convolutions that are removed with each channel of the first one."""
    first, last = net[0].weight.detach().double(), net[3].weight.detach().double()
    return [
        np.concatenate([first[u].flatten().numpy(), last[:, u].flatten().numpy()]) for u in range(6)
    ]


def test_lamp_is_the_share_in_what_is_as_large() -> None:
    """Squared norm over the squared norms of units that are as large or larger."""
    net = two_convolutions()
    graph = ww.trace(net, IMAGE)
    squares = [float(np.square(w).sum()) for w in weights_of_units(net)]
    expected = [own / sum(other for other in squares if other >= own) for own in squares]
    found = ww.scores.Lamp()(graph)[graph.axes["0"].units]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.max() == 1


def test_lamp_of_an_axis_without_weights_is_zero() -> None:
    """Weights of zero give scores, not NaN."""
    net = two_convolutions()
    nn.init.zeros_(net[0].weight)
    nn.init.zeros_(net[3].weight)
    graph = ww.trace(net, IMAGE)
    assert ww.scores.Lamp()(graph)[graph.axes["0"].units].tolist() == [0] * 6


def test_the_geometric_median_is_a_sum_of_distances() -> None:
    """Distances to all other units of the axis, over the mean of the axis."""
    net = two_convolutions()
    graph = ww.trace(net, IMAGE)
    units = weights_of_units(net)
    sums = np.array([sum(math.dist(a, b) for b in units) for a in units])
    found = ww.scores.GeometricMedian()(graph)[graph.axes["0"].units]
    np.testing.assert_allclose(found, sums / sums.mean(), rtol=1e-6)


def test_a_large_unit_that_others_resemble_goes_before_a_small_one_that_stands_alone() -> None:
    """What FPGM is for: the norm would say the opposite."""
    net = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1))
    net[0].weight.data.copy_(torch.tensor([[5.0, 0.0], [5.1, 0.0], [4.9, 0.0], [0.0, 1.0]]))
    nn.init.zeros_(net[2].weight)
    graph = ww.trace(net, torch.zeros(1, 2))
    axis = graph.axes["0"].units
    assert ww.scores.GeometricMedian()(graph)[axis].argmax() == 3
    assert ww.scores.L2()(graph)[axis].argmin() == 3


def test_units_of_several_channels_are_compared_channel_by_channel() -> None:
    """Behind a pixel shuffle a unit is four channels; equal units have distance zero."""
    net = nn.Sequential(nn.Conv2d(3, 12, 1, bias=False), nn.PixelShuffle(2), nn.Conv2d(3, 2, 1))
    with torch.no_grad():
        kernels = torch.randn(4, 3, 1, 1, generator=torch.Generator().manual_seed(0))
        net[0].weight.copy_(torch.cat([kernels, kernels, 3 + kernels]))
        net[2].weight.fill_(1.0)
    graph = ww.trace(net, IMAGE)
    axis = graph.axes["0"]
    found = ww.scores.GeometricMedian()(graph)[axis.units]
    assert axis.unit_size == 4
    # The first two are one point, and the third is as far from both.
    np.testing.assert_allclose(found, [0.75, 0.75, 1.5], rtol=1e-6)


def written_out_kse(weight: np.ndarray, *, alpha: float, neighbours: int) -> np.ndarray:
    """The indicator of every input channel of a weight ``[filters, channels, taps]``, in loops."""
    sizes, entropies = [], []
    for channel in range(weight.shape[1]):
        kernels = weight[:, channel]
        sizes.append(np.abs(kernels).sum())
        densities = []
        for own in range(len(kernels)):
            others = [math.dist(kernels[own], k) for i, k in enumerate(kernels) if i != own]
            densities.append(sum(sorted(others)[:neighbours]))
        shares = np.array(densities) / sum(densities)
        entropies.append(-(shares * np.log2(shares)).sum())
    s, e = ((np.array(v) - min(v)) / (max(v) - min(v)) for v in (sizes, entropies))
    found: np.ndarray = np.sqrt(s / (1 + alpha * e))
    return found


@pytest.mark.parametrize(("alpha", "neighbours"), [(1.0, 5), (0.5, 2), (0.0, 100)])
def test_kse_is_its_formula(alpha: float, neighbours: int) -> None:
    """Sparsity and entropy of the kernels that read a channel; 100 neighbours are all there are."""
    net = two_convolutions()
    graph = ww.trace(net, IMAGE)
    score = ww.scores.KernelSparsityEntropy(alpha=alpha, neighbours=neighbours)
    weight = net[3].weight.detach().double().flatten(2).numpy()
    expected = written_out_kse(weight, alpha=alpha, neighbours=neighbours)
    found = score(graph)[graph.axes["0"].units]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_kernels_that_are_alike_count_less() -> None:
    """Of channels with the same l1 norm, the one whose kernels are all the same goes first."""
    net = nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.Conv2d(3, 4, 1))
    columns = torch.tensor([[1.0] * 4, [0.1, 0.1, 0.2, 3.6], [0.1] * 4]).T
    net[2].weight.data.copy_(columns.reshape(4, 3, 1, 1))
    graph = ww.trace(net, IMAGE)
    alike, different, small = ww.scores.KernelSparsityEntropy(neighbours=1)(graph)[
        graph.axes["0"].units
    ]
    assert small < alike < different


@pytest.mark.parametrize("given", [{"alpha": -1.0}, {"alpha": math.nan}, {"neighbours": 0}])
def test_settings_that_make_no_sense_are_refused(given: dict[str, float]) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigError, match=next(iter(given))):
        ww.scores.KernelSparsityEntropy(**given)  # type: ignore[arg-type]


SCORES = [ww.scores.Lamp(), ww.scores.GeometricMedian(), ww.scores.KernelSparsityEntropy()]


@pytest.mark.parametrize("score", SCORES, ids=lambda score: type(score).__name__)
def test_they_score_every_network_of_the_zoo(score: ww.scores.Score) -> None:
    """Ties, groups, attention, shared weights: scores are finite and not negative."""
    for case in CASES:
        net = case.build()
        graph = ww.trace(net, case.example_inputs)
        scores = score(graph)
        free = graph.free
        assert np.isfinite(scores[free]).all() and (scores[free] >= 0).all(), case.name
