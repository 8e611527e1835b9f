"""Numbers per unit: low goes first."""

from widthwise.search.scores.activity import FeatureRank, Variance
from widthwise.search.scores.base import Score
from widthwise.search.scores.controls import Random, Uniform
from widthwise.search.scores.geometric_median import GeometricMedian
from widthwise.search.scores.gradients import Fisher, Taylor
from widthwise.search.scores.kernel_sparsity_entropy import KernelSparsityEntropy
from widthwise.search.scores.lamp import Lamp
from widthwise.search.scores.latent_gradient import LatentGradient
from widthwise.search.scores.magnitude import L1, L2
from widthwise.search.scores.reconstruction import Reconstruction

__all__ = [
    "L1",
    "L2",
    "FeatureRank",
    "Fisher",
    "GeometricMedian",
    "KernelSparsityEntropy",
    "Lamp",
    "LatentGradient",
    "Random",
    "Reconstruction",
    "Score",
    "Taylor",
    "Uniform",
    "Variance",
]
