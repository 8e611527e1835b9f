"""Prox steps of penalties that are not convex, against a search for the minimum itself."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import optimize
from torch import Tensor

from widthwise.search.prox import (
    DifferenceShrink,
    HalfThreshold,
    LogThreshold,
    Prox,
    difference_shrink,
    half_threshold,
    log_threshold,
)

SIZES = (0.0, 1e-3, 0.05, 0.2, 0.4, 0.7, 1.0, 3.0)
STEPS = (0.0, 1e-4, 0.01, 0.1, 0.5, 2.0)


def least(objective: Callable[[float], float], most: float) -> float:
    """The smallest value of a function of one number in [0, most], found without derivatives."""
    grid = np.linspace(0, most, 2001)
    near = grid[int(np.argmin([objective(x) for x in grid]))]
    found = optimize.minimize_scalar(
        objective,
        bounds=(max(0, near - most / 1000), near + most / 1000),
        method="bounded",
        options={"xatol": 1e-12},
    )
    return float(min(found.fun, objective(0.0), objective(near)))


@pytest.mark.parametrize(("size", "step"), list(itertools.product(SIZES, STEPS)))
@pytest.mark.parametrize("sign", [1, -1])
def test_the_half_threshold_minimises_its_objective(size: float, step: float, sign: int) -> None:
    """``(x - z)² / 2 + step * sqrt(|x|)`` is nowhere smaller than at the result."""
    moved = float(half_threshold(torch.tensor([sign * size], dtype=torch.float64), step))

    def objective(x: float) -> float:
        return (x - size) ** 2 / 2 + step * abs(x) ** 0.5

    assert moved * sign >= 0
    assert objective(abs(moved)) <= least(objective, size + 1) + 1e-12


@pytest.mark.parametrize(("size", "step"), list(itertools.product(SIZES, STEPS)))
@pytest.mark.parametrize("epsilon", [1e-8, 0.1, 2.0])
def test_the_log_threshold_minimises_its_objective(
    size: float, step: float, epsilon: float
) -> None:
    """``(x - z)² / 2 + step * log(1 + |x| / epsilon)`` is nowhere smaller than at the result."""
    moved = -float(log_threshold(torch.tensor([-size], dtype=torch.float64), step, epsilon))

    def objective(x: float) -> float:
        return float((x - size) ** 2 / 2 + step * np.log1p(abs(x) / epsilon))

    assert moved >= 0
    assert objective(moved) <= least(objective, size + 1) + 1e-12


@pytest.mark.parametrize("step", [0.0, 0.05, 0.4, 0.9, 1.5])
@pytest.mark.parametrize("seed", range(4))
def test_the_difference_minimises_its_objective(step: float, seed: int) -> None:
    """``‖x - z‖² / 2 + step * (‖x‖₁ - ‖x‖₂)``: no minimiser from any start does better."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=3) * 0.8

    def objective(x: np.ndarray) -> float:
        penalty = np.abs(x).sum() - np.sqrt(np.square(x).sum())
        return float(np.square(x - z).sum() / 2 + step * penalty)

    moved = difference_shrink(torch.from_numpy(z), step).numpy()
    starts = [z, np.zeros(3), *np.diag(z), *generator.normal(size=(8, 3))]
    found = [optimize.minimize(objective, x, method="Nelder-Mead", tol=1e-11) for x in starts]
    assert objective(moved) <= min(each.fun for each in found) + 1e-9


def test_the_difference_never_loses_the_largest_entry() -> None:
    """However large the step: a vector of one entry costs nothing."""
    z = torch.tensor([0.2, -0.3, 0.1])
    assert torch.equal(difference_shrink(z, 10.0), torch.tensor([0.0, -0.3, 0.0]))


def test_the_difference_goes_axis_by_axis() -> None:
    """Each axis is a vector of its own, in whatever order its units come."""
    z, axes = torch.tensor([3.0, 1.0, -4.5, 0.25, 0.7]), torch.tensor([2, 0, 2, 2, 0])
    moved = DifferenceShrink()(z, 0.5, axes)
    for axis in (0, 2):
        expected = difference_shrink(z[axes == axis], 0.5)
        assert torch.equal(moved[axes == axis], expected)


PROXES = [HalfThreshold(), LogThreshold(), DifferenceShrink()]


@pytest.mark.parametrize("prox", PROXES, ids=lambda prox: type(prox).__name__)
def test_larger_steps_shrink_more_and_none_nothing(prox: Prox) -> None:
    """The sum of magnitudes falls with the step, and a step of zero changes nothing."""
    z = torch.randn(20, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    axes = torch.zeros(20, dtype=torch.int64)
    before = z.clone()
    sums = [float(prox(z, step, axes).abs().sum()) for step in (0.0, 0.01, 0.1, 0.5)]
    assert sums == sorted(sums, reverse=True) and sums[-1] < sums[0]
    torch.testing.assert_close(prox(z, 0.0, axes), z, rtol=1e-12, atol=0)
    assert torch.equal(z, before)


@pytest.mark.parametrize(
    "prox",
    [half_threshold, difference_shrink, lambda z, step: log_threshold(z, step, 0.1)],
)
def test_negative_steps_are_refused(prox: Callable[[Tensor, float], Tensor]) -> None:
    """No prox pushes away from zero."""
    with pytest.raises(ValueError, match="non-negative"):
        prox(torch.ones(2), -0.1)


def test_an_epsilon_of_zero_is_refused() -> None:
    """The logarithm would be infinite at zero."""
    with pytest.raises(ValueError, match="epsilon"):
        log_threshold(torch.ones(2), 0.1, 0.0)
