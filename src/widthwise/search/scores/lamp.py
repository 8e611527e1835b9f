"""LAMP: magnitude, relative to what is as large or larger in the same axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from widthwise.graph import ChannelGraph
from widthwise.search.scores.base import group_norms


@dataclass(frozen=True)
class Lamp:
    """Share of a unit in the squared weights that would be left if it went next of its axis.

    Lee et al., "Layer-adaptive Sparsity for the Magnitude-based Pruning" (ICLR 2021,
    arXiv:2010.07611), score single weights of one layer by ``w² / sum of v² over |v| >= |w|``. Here
    it is units of an axis, with all weights that are removed with them, as in `L2`. The largest
    unit of every axis scores 1, so that no axis is emptied before others.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Linear(3, 1))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0], [3.0], [2.0]]))
        >>> _ = net[1].weight.data.fill_(0.0)
        >>> graph = ww.trace(net, torch.zeros(1, 1))
        >>> ww.scores.Lamp()(graph)[graph.axes["0"].units].round(3)
        array([0.071, 1.   , 0.308])
    """

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``, in [0, 1]."""
        squares = group_norms(graph, torch.square)
        scores = np.zeros_like(squares)
        for axis in graph.axes.values():
            own = squares[axis.units]
            order = np.argsort(-own, kind="stable")
            left = np.cumsum(own[order])
            shares = np.divide(own[order], left, out=np.zeros_like(left), where=left > 0)
            scores[axis.units.start + order] = shares
        return scores
