"""What a score is, and how the weights that belong to a unit are found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from widthwise.errors import ConfigError
from widthwise.graph import ChannelGraph


class Score(Protocol):
    """A number per unit; units with low numbers go first."""

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Return one number per unit, shape ``[units]``. Units of frozen axes may get any."""
        ...


def weights_of(graph: ChannelGraph) -> Iterator[tuple[Tensor, list[np.ndarray | None]]]:
    """Yield every weight of a layer that makes channels, with the units of its dims.

    Raises:
        ConfigError: If the network is on the meta device and has no weights to read.
    """
    for name, weight in graph.model.named_parameters():
        if weight.dim() < 2:
            continue
        if weight.is_meta:
            raise ConfigError(
                f"This score reads weights, and `{name}` of `{graph.model_name}` is on the meta "
                "device.\n"
                "Hint: trace a network that has weights, or use a score that needs none "
                "(`Uniform`, `Random`)."
            )
        yield weight.detach(), list(graph.slots[name])


def group_norms(graph: ChannelGraph, power: Callable[[Tensor], Tensor]) -> np.ndarray:
    """Sum a function of the weights over all that belongs to each unit.

    Weights that make a unit and weights that read it both count, because they are removed together.

    Args:
        graph: The network.
        power: Element-wise function of a weight tensor.

    Returns:
        One sum per unit, shape ``[units]``.
    """
    sums = np.zeros(graph.unit_count)
    for weight, slots in weights_of(graph):
        values = power(weight.to(torch.float32))
        for dim, units in enumerate(slots):
            if units is None:
                continue
            others = [other for other in range(weight.dim()) if other != dim]
            along = values.sum(others) if others else values
            sums += np.bincount(units, along.cpu().double().numpy(), minlength=graph.unit_count)
    return sums


def per_axis_mean_one(graph: ChannelGraph, scores: np.ndarray) -> np.ndarray:
    """Divide scores by the mean of their axis, so that wide and narrow layers compare."""
    scaled = scores.copy()
    for axis in graph.axes.values():
        mean = scaled[axis.units].mean()
        if mean > 0:
            scaled[axis.units] /= mean
    return scaled
