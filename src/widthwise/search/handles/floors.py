"""Which units survive a threshold on one number per unit, with a floor under every axis."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from widthwise.graph import ChannelGraph
from widthwise.search.limits import Limits


class Floors:
    """The units a search may shrink, and how many of each axis must stay large.

    Args:
        axis_of_unit: Number of the axis each unit belongs to, int64, shape ``[u]``. The units of an
            axis are consecutive and axes are numbered in the same order.
        free: Bool, shape ``[u]``: the units that may be removed, whole axes at a time.
        floor: Units that every axis keeps at least, int64, shape ``[axes]``.
    """

    def __init__(self, *, axis_of_unit: np.ndarray, free: np.ndarray, floor: np.ndarray) -> None:
        self._axis_of_unit, self._free, self._floor = axis_of_unit, free, floor
        self._first = np.searchsorted(axis_of_unit, np.arange(len(floor)))
        self._tensors = tuple(torch.from_numpy(array) for array in (axis_of_unit, free, floor))

    @classmethod
    def of(cls, graph: ChannelGraph, limits: Limits) -> Floors:
        """Read the axes of a graph and the limits of a search."""
        # Units of no axis, such as the channels of the image, get one number after the last axis.
        axis_of_unit = np.full(graph.unit_count, len(graph.axes))
        free = np.zeros(graph.unit_count, dtype=bool)
        for number, axis in enumerate(graph.axes.values()):
            axis_of_unit[axis.units] = number
        for axis in limits.axes(graph):
            free[axis.units] = True
        floor = [limits.floor(axis) for axis in graph.axes.values()]
        return cls(axis_of_unit=axis_of_unit, free=free, floor=np.array([*floor, 0]))

    def axis_of_unit(self, device: torch.device) -> Tensor:
        """Number of the axis each unit belongs to, int64, shape ``[u]``, on a device."""
        return self._on(device)[0]

    def shrinking(self, latents: Tensor, threshold: float) -> Tensor:
        """Which latents the prox may move: those of axes with more large entries than their floor.

        Args:
            latents: Shape ``[u]``.
            threshold: Entries of at least this magnitude are large.

        Returns:
            Bool, shape ``[u]``.
        """
        axis_of_unit, free, floor = self._on(latents.device)
        large = (latents.abs() >= threshold).to(floor.dtype)
        count = torch.zeros_like(floor).index_add_(0, axis_of_unit, large)
        return free & (count > floor)[axis_of_unit]

    def kept(self, latents: Tensor, threshold: float) -> np.ndarray:
        """Which units remain at a threshold; the largest of each axis stay, up to its floor.

        Args:
            latents: Shape ``[u]``.
            threshold: Entries of at least this magnitude remain.

        Returns:
            Bool, shape ``[u]``.
        """
        size = latents.detach().abs().cpu().numpy()
        order = np.lexsort((-size, self._axis_of_unit))
        rank = np.empty(len(size), dtype=np.int64)
        rank[order] = np.arange(len(size)) - self._first[self._axis_of_unit[order]]
        return (size >= threshold) | (rank < self._floor[self._axis_of_unit]) | ~self._free

    def _on(self, device: torch.device) -> tuple[Tensor, ...]:
        if self._tensors[0].device != device:
            self._tensors = tuple(tensor.to(device) for tensor in self._tensors)
        return self._tensors
