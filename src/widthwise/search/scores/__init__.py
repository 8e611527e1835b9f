"""Numbers per unit: low goes first."""

from widthwise.search.scores.base import Score
from widthwise.search.scores.controls import Random, Uniform
from widthwise.search.scores.latent_gradient import LatentGradient
from widthwise.search.scores.magnitude import L1, L2

__all__ = ["L1", "L2", "LatentGradient", "Random", "Score", "Uniform"]
