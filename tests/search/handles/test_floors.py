"""Thresholds with a floor under every axis."""

from __future__ import annotations

import numpy as np
import torch

from widthwise.search.handles.floors import Floors

AXES = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2])
LATENTS = torch.tensor([0.9, -0.8, 0.01, 0.02, 0.03, -0.04, 0.01, 0.001, 0.002])


def floors(floor=(2, 2, 1), frozen_axis=2):
    return Floors(
        axis_of_unit=AXES,
        free=frozen_axis != AXES,
        floor=np.array(floor),
    )


def test_axis_shrinks_while_it_has_more_large_latents_than_its_floor():
    """An axis at its floor is left alone; one above it shrinks, its small entries included."""
    assert floors((1, 2, 1)).shrinking(LATENTS, 0.1).tolist() == [True] * 4 + [False] * 5
    assert floors((2, 2, 1)).shrinking(LATENTS, 0.1).tolist() == [False] * 9


def test_frozen_axis_never_shrinks():
    """However large its latents, an axis that may not be cut is not regularised."""
    assert not floors((1, 1, 0)).shrinking(torch.ones(9), 0.1)[7:].any()


def test_floor_keeps_the_largest_of_an_axis():
    """Below the threshold the largest latents of each axis stay, as many as its floor says."""
    kept = floors().kept(LATENTS, 0.1)
    assert kept.tolist() == [True, True, False, False, True, True, False, True, True]


def test_everything_above_the_threshold_stays():
    """A threshold of zero removes nothing."""
    assert floors((0, 0, 0)).kept(LATENTS, 0.0).all()


def test_latent_equal_to_the_threshold_counts_as_kept():
    """The threshold itself is on the kept side, as in the published code."""
    kept = floors((0, 0, 0)).kept(torch.full((9,), 0.5), 0.5)
    assert kept.all()
    assert floors((0, 0, 0)).shrinking(torch.full((9,), 0.5), 0.5)[:7].all()
