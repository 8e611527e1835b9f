"""Where the weights come from while a search runs."""

from widthwise.search.weights.base import Weights
from widthwise.search.weights.hyper_conv import HyperConv
from widthwise.search.weights.snapshot import Snapshot

__all__ = ["HyperConv", "Snapshot", "Weights"]
