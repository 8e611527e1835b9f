"""Proximal steps: values of the authors' code, and the laws a prox obeys."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from widthwise.search.prox import (
    GroupSoftThreshold,
    NoProx,
    SoftThreshold,
    l2_shrink,
    soft_threshold,
)

GOLDEN = np.load(Path(__file__).parents[2] / "golden" / "dhp_hyperconv.npz")


@pytest.mark.parametrize(
    ("name", "prox"), [("soft_threshold", soft_threshold), ("l2_prox", l2_shrink)]
)
def test_prox_has_the_values_of_the_authors_code(name, prox):
    """Soft threshold and l2 shrinkage reproduce the values computed with the released code."""
    latent = torch.from_numpy(GOLDEN[f"{name}/input"])
    moved = prox(latent, float(GOLDEN[f"{name}/step"]))
    np.testing.assert_allclose(moved.numpy(), GOLDEN[f"{name}/output"], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("prox", [SoftThreshold(), GroupSoftThreshold(), NoProx()])
def test_prox_returns_a_new_tensor(prox):
    """A prox leaves the latents it is given alone and shares no memory with its result."""
    latents = torch.tensor([0.5, -1.0, 2.0])
    before = latents.clone()
    moved = prox(latents, 0.1, torch.tensor([0, 0, 1]))
    moved.zero_()
    assert torch.equal(latents, before)


@pytest.mark.parametrize("prox", [SoftThreshold(), GroupSoftThreshold()])
def test_prox_minimises_its_objective(prox):
    """Nothing near the result is better: ``|x - z|^2 / 2 + step * penalty(x)`` is minimal there."""
    generator = torch.Generator().manual_seed(0)
    axes = torch.tensor([0, 0, 0, 1, 1, 2])
    latents = torch.randn(6, generator=generator, dtype=torch.float64)
    latents[5] = 0.0
    step = 0.3

    def objective(point):
        if isinstance(prox, SoftThreshold):
            penalty = point.abs().sum()
        else:
            penalty = sum(point[axes == axis].norm() for axis in range(3))
        return (point - latents).square().sum() / 2 + step * penalty

    best = prox(latents, step, axes)
    for _ in range(200):
        other = best + 0.05 * torch.randn(6, generator=generator, dtype=torch.float64)
        assert objective(best) <= objective(other)


def test_group_shrinkage_scales_each_group_by_its_own_norm():
    """Entries of one group keep their proportions; a group with a small norm becomes zero."""
    latents = torch.tensor([3.0, 4.0, 0.1, 0.1])
    moved = l2_shrink(latents, 0.5, torch.tensor([0, 0, 1, 1]))
    assert torch.allclose(moved, torch.tensor([2.7, 3.6, 0.0, 0.0]))


def test_group_shrinkage_of_zeros_by_nothing_is_zero():
    """A group of zeros stays zero, also with a step of zero, instead of becoming NaN."""
    assert torch.equal(l2_shrink(torch.zeros(3), 0.0), torch.zeros(3))


@pytest.mark.parametrize("prox", [soft_threshold, l2_shrink])
def test_prox_refuses_a_negative_step(prox):
    """A negative step would push latents away from zero, which no prox does."""
    with pytest.raises(ValueError, match="non-negative"):
        prox(torch.ones(2), -0.1)
