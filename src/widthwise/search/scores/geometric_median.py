"""FPGM: how far a unit is from the others of its axis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from widthwise.graph import Axis, ChannelGraph
from widthwise.search.scores.base import per_axis_mean_one, weights_of


@dataclass(frozen=True)
class GeometricMedian:
    """Sum of the distances of a unit to all others of its axis, relative to the mean of the axis.

    He et al., "Filter Pruning via Geometric Median for Deep Neural Networks Acceleration" (CVPR
    2019, arXiv:1811.00250): what is near the geometric median of a layer can be made up for by the
    others, however large it is. They compare filters of one layer; here a unit is all weights that
    are removed with it, those that make its channels and those that read them.

    Example:
        >>> import torch, widthwise as ww
        >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Linear(3, 1))
        >>> _ = net[0].weight.data.copy_(torch.tensor([[1.0], [2.0], [6.0]]))
        >>> _ = net[1].weight.data.fill_(0.0)
        >>> graph = ww.trace(net, torch.zeros(1, 1))
        >>> ww.scores.GeometricMedian()(graph)[graph.axes["0"].units]
        array([0.9 , 0.75, 1.35])
    """

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``."""
        scores = np.zeros(graph.unit_count)
        weights = list(weights_of(graph))
        for axis in graph.axes.values():
            if axis.frozen is None:
                scores[axis.units] = _squares(axis, weights).sqrt().sum(1).cpu().numpy()
        return per_axis_mean_one(graph, scores)


def _squares(axis: Axis, weights: list[tuple[Tensor, list[np.ndarray | None]]]) -> Tensor:
    """Return squared distances between the units of an axis, float64 ``[width, width]``."""
    total = torch.zeros(axis.width, axis.width, dtype=torch.float64)
    for weight, slots in weights:
        for dim, units in enumerate(slots):
            if units is None:
                continue
            places = np.flatnonzero((units >= axis.units.start) & (units < axis.units.stop))
            if not len(places):
                continue
            # Units of an axis have as many channels each in every dim; they are compared in order.
            order = places[np.argsort(units[places], kind="stable")]
            own = weight.index_select(dim, torch.from_numpy(order).to(weight.device))
            rows = own.movedim(dim, 0).reshape(axis.width, -1).double()
            total += torch.cdist(rows, rows).square().cpu()
    return total
