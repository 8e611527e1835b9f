"""Trials: no two widths agree in all of them by chance."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import widthwise as ww
from widthwise.graph.dry_run.trials import removals


@pytest.mark.parametrize(
    "widths",
    [[2] * 4, [3] * 4, [4] * 3, [9] * 12, [16] * 28, [64] * 200, [2, 3, 4, 5, 8, 8, 3, 2]],
    ids=lambda widths: f"{len(widths)} of {widths[0]}",
)
def test_axes_of_one_width_lose_other_amounts(widths: list[int]) -> None:
    """Of two axes as wide as each other, one is wider than the other in some trial."""
    found = list(zip(widths, removals(widths), strict=True))
    assert len(set(found)) == len(found)
    for width, amounts in found:
        assert sum(amount > 0 for amount in amounts) >= 2
        assert max(amounts) <= width // 2
        assert width < 4 or len(set(amounts)) > 1


def test_the_first_trial_takes_little_of_the_first_axes() -> None:
    """Counts next to the full ones are divided by few of their divisors, and differ."""
    assert [first for first, _ in removals([64] * 20)] == list(range(1, 21))


def test_two_trials_do_where_two_can_tell_axes_apart() -> None:
    """A third run costs time, so it is for networks with many axes of a small width."""
    assert {len(each) for each in removals([16] * 28 + [3])} == {2}
    assert {len(each) for each in removals([16] * 28 + [3] * 2)} == {3}
    assert {len(each) for each in removals([16], guessed=True)} == {3}


def test_axes_without_end_start_over() -> None:
    """More axes of a width than amounts: the amounts are used again, and none stays wide."""
    found = removals([4] * 100)
    assert len(set(found)) == 6 and all(min(each) > 0 for each in found)
    assert all(sum(each) >= 2 for each in removals([2] * 100))


def test_no_width_stays_a_fraction_of_another() -> None:
    """A fraction of one width equals another in every trial only if code keeps it so."""
    widths = [12, 12, 16, 24, 32, 48, 64, 128, 24, 12, 96, 192] * 3
    shares = [
        tuple(Fraction(amount, width) for amount in amounts)
        for width, amounts in zip(widths, removals(widths), strict=True)
    ]
    assert len(set(shares)) == len(shares)


class EqualSlices(nn.Module):
    """Cuts a small width into equal parts, and adds two of them."""

    def __init__(self, parts: int = 3) -> None:
        super().__init__()
        self.parts = parts
        self.first, self.middle = nn.Conv2d(3, 3 * parts, 1), nn.Conv2d(3, 3, 1)
        self.last = nn.Conv2d(3 * parts, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        w = x.shape[1] // self.parts
        first, second, *rest = (x[:, i * w : i * w + w] for i in range(self.parts))
        return self.last(torch.cat([first, self.middle(first) + second, *rest], 1))


class LastQuarter(nn.Module):
    """Divides a width and rounds down; before it is a layer as wide as the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.middle = nn.Conv2d(3, 12, 1), nn.Conv2d(12, 16, 1)
        self.last = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.middle(self.first(x))
        quarter = x.shape[1] // 4
        return self.last(torch.cat([x[:, -quarter:].relu(), x[:, :-quarter]], 1))


class CrossAttention(nn.Module):
    """Attends from one width to another one that equals it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 6), nn.Linear(6, 3)
        self.layer = nn.TransformerDecoderLayer(6, 2, 8, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.last(self.layer(x, x))


@pytest.mark.parametrize(
    ("factory", "shape", "unit_sizes"),
    [
        (EqualSlices, (1, 3, 4, 4), {"first": 3}),
        (lambda: EqualSlices(4), (1, 3, 4, 4), {"first": 4}),
        (LastQuarter, (1, 3, 4, 4), {"first": 3}),
        (CrossAttention, (2, 5, 4), {"first": 2}),
    ],
)
def test_what_code_takes_for_equal_is_one_axis(factory, shape, unit_sizes) -> None:
    """Any plan of such a network is proven: what must stay equal is one unit."""
    torch.manual_seed(0)
    net, x = factory().eval(), torch.randn(*shape)
    graph = ww.trace(net, x)
    free = {name: axis for name, axis in graph.axes.items() if axis.frozen is None}
    assert unit_sizes.items() <= {name: axis.unit_size for name, axis in free.items()}.items()
    for seed in range(4):
        random, keep = np.random.default_rng(seed), graph.everything.copy()
        for axis in free.values():
            keep[axis.units] = random.random(axis.width) < 0.6
            keep[axis.units.start] = True
        ww.shrink(net, ww.Plan.of(graph, keep))
