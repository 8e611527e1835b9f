"""Accelerated proximal gradient and decay, against minimisation by scipy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch

from widthwise.search.prox import accelerated_step, l2_decay, soft_threshold

GENERATOR = torch.Generator().manual_seed(0)
MATRIX = torch.randn(12, 6, dtype=torch.float64, generator=GENERATOR)
TARGET = torch.randn(12, dtype=torch.float64, generator=GENERATOR)


def minimum_of_l1(smooth, penalty: np.ndarray) -> np.ndarray:
    """Minimise a smooth function plus weighted absolute values, as positive and negative parts."""
    size = len(penalty)

    def objective(parts: np.ndarray) -> float:
        return smooth(parts[:size] - parts[size:]) + float(np.tile(penalty, 2) @ parts)

    result = scipy.optimize.minimize(
        objective, np.full(2 * size, 0.1), bounds=[(0, None)] * (2 * size), tol=1e-14
    )
    return result.x[:size] - result.x[size:]


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_accelerated_steps_end_at_the_minimum(momentum: float) -> None:
    """Least squares with an l1 penalty of its own for each entry, some of which are zero there."""
    penalty = torch.tensor([0.5, 2.0, 4.0, 0.0, 1.0, 8.0], dtype=torch.float64)
    point, velocity = torch.ones(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)
    rate = 0.5 / float(torch.linalg.matrix_norm(MATRIX, 2) ** 2)
    for _ in range(3000):
        gradient = MATRIX.T @ (MATRIX @ point - TARGET)
        point, velocity = accelerated_step(
            point, gradient, velocity, rate=rate, penalty=penalty, momentum=momentum
        )
    matrix, target = MATRIX.numpy(), TARGET.numpy()
    best = minimum_of_l1(lambda x: 0.5 * float(((matrix @ x - target) ** 2).sum()), penalty.numpy())
    np.testing.assert_allclose(point.numpy(), best, atol=1e-5)
    assert (point == 0).any()
    assert (point != 0).any()


def test_a_step_without_momentum_minimises_its_model() -> None:
    """The linearised function, half the squared distance over the rate, and the penalty."""
    point, gradient = MATRIX[0], MATRIX[1]
    moved, velocity = accelerated_step(
        point, gradient, torch.zeros_like(point), rate=0.3, penalty=1.0, momentum=0.0
    )
    x, g = point.numpy(), gradient.numpy()
    best = minimum_of_l1(lambda y: float(g @ (y - x) + ((y - x) ** 2).sum() / 0.6), np.ones(len(x)))
    np.testing.assert_allclose(moved.numpy(), best, atol=1e-5)
    assert torch.equal(velocity, moved - point)


def test_it_is_nesterovs_method_seen_from_the_point_of_the_gradient() -> None:
    """The textbook form looks ahead first, then steps; the sequences of results are the same."""
    rate, penalty, momentum = 0.02, 1.5, 0.8
    now, before = torch.ones(6, dtype=torch.float64), torch.ones(6, dtype=torch.float64)
    point, velocity = now.clone(), torch.zeros_like(now)
    for _ in range(20):
        ahead = now + momentum * (now - before)
        torch.testing.assert_close(point, ahead)
        gradient = MATRIX.T @ (MATRIX @ ahead - TARGET)
        now, before = soft_threshold(ahead - rate * gradient, rate * penalty), now
        point, velocity = accelerated_step(
            point, gradient, velocity, rate=rate, penalty=penalty, momentum=momentum
        )


def test_an_entry_below_the_threshold_twice_is_exactly_zero() -> None:
    """Momentum carries it over zero once, and then it rests."""
    point, velocity = torch.tensor([0.05, 3.0]), torch.tensor([-0.01, 0.0])
    for expected in (False, True, True):
        point, velocity = accelerated_step(
            point, torch.zeros(2), velocity, rate=0.1, penalty=2.0, momentum=0.9
        )
        assert bool(point[0] == 0) is expected
    assert point[1] > 1


def test_decay_minimises_its_objective() -> None:
    """Half the squared distance, plus half the square times the step."""
    weight, step = MATRIX[:2, :3], torch.tensor([[0.5], [30.0]], dtype=torch.float64)
    before = weight.clone()
    found = l2_decay(weight, step)
    start, times = weight.numpy().ravel(), step.expand(2, 3).numpy().ravel()
    best = scipy.optimize.minimize(
        lambda x: 0.5 * ((x - start) ** 2).sum() + 0.5 * (times * x**2).sum(),
        np.zeros(6),
        tol=1e-14,
    )
    np.testing.assert_allclose(found.numpy().ravel(), best.x, atol=1e-6)
    assert torch.equal(weight, before)
