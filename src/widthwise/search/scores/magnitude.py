"""Scores that read the size of weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from widthwise.graph import ChannelGraph
from widthwise.search.scores.base import group_norms, per_axis_mean_one


@dataclass(frozen=True)
class L1:
    """Sum of absolute weights of a unit, relative to the mean of its axis.

    Li et al., "Pruning filters for efficient ConvNets" (ICLR 2017, arXiv:1608.08710), rank filters
    of one layer. Here a unit counts all weights that are removed with it, those that make its
    channels and those that read them, and axes are made comparable by their means.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 1))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0, 1.0], [3.0, 3.0]]))
        >>> _ = net[1].weight.data.fill_(0.0)
        >>> graph = ww.trace(net, torch.zeros(1, 2))
        >>> ww.scores.L1()(graph)[graph.axes["0"].units]
        array([0.5, 1.5])
    """

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``."""
        return per_axis_mean_one(graph, group_norms(graph, torch.abs))


@dataclass(frozen=True)
class L2:
    """Euclidean norm of all weights of a unit, relative to the mean of its axis."""

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``."""
        return per_axis_mean_one(graph, np.sqrt(group_norms(graph, torch.square)))
