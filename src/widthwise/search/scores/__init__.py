"""Numbers per unit: low goes first."""

from widthwise.search.scores.activity import FeatureRank, Variance
from widthwise.search.scores.base import Score
from widthwise.search.scores.controls import Random, Uniform
from widthwise.search.scores.gradients import Fisher, Taylor
from widthwise.search.scores.latent_gradient import LatentGradient
from widthwise.search.scores.magnitude import L1, L2
from widthwise.search.scores.reconstruction import Reconstruction

__all__ = [
    "L1",
    "L2",
    "FeatureRank",
    "Fisher",
    "LatentGradient",
    "Random",
    "Reconstruction",
    "Score",
    "Taylor",
    "Uniform",
    "Variance",
]
