"""Scores that look at no weight: the controls every search must beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from widthwise.graph import ChannelGraph
from widthwise.search.scores.base import Score, require_score


@dataclass(frozen=True)
class Uniform:
    """Narrow every axis to the same keep ratio.

    Args:
        by: What goes first within an axis: low scores; the last channels, if not given.
    """

    by: Score | None = None

    def __post_init__(self) -> None:
        if self.by is not None:
            require_score(self.by)

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``: the share of its axis that stays if it goes."""
        order = -np.arange(graph.unit_count) if self.by is None else self.by(graph)
        scores = np.zeros(graph.unit_count)
        for axis in graph.axes.values():
            ranks = np.argsort(np.argsort(order[axis.units], kind="stable"), kind="stable")
            scores[axis.units] = (ranks + 1) / axis.width
        return scores

    def __repr__(self) -> str:
        """As it is written."""
        return "Uniform()" if self.by is None else f"Uniform(by={self.by!r})"


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
