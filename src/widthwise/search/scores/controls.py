"""Scores that look at no weight: the controls every search must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from widthwise.graph import ChannelGraph


@dataclass(frozen=True)
class Uniform:
    """Narrow every axis to the same keep ratio, last channels first."""

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``: the share of its axis that stays if it goes."""
        scores = np.zeros(graph.unit_count)
        for axis in graph.axes.values():
            scores[axis.units] = np.arange(axis.width, 0, -1) / axis.width
        return scores


@dataclass(frozen=True)
class Random:
    """Remove units at random.

    Args:
        seed: The same seed and network give the same scores.
    """

    seed: int = 0

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``: uniform in [0, 1)."""
        return np.random.default_rng(self.seed).random(graph.unit_count)
