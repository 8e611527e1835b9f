"""A handle that holds nothing: the network trains as it is, and is scored in the end."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from torch import nn
from torch.optim import Optimizer

from widthwise.graph import ChannelGraph
from widthwise.search.handles.base import Ground
from widthwise.search.scores import Score


class Still:
    """Nothing is attached, and nothing pushes units out.

    Args:
        graph: Trace of ``model``.
        model: The network.
        score: Tells units apart, by the weights of the moment.
    """

    def __init__(self, graph: ChannelGraph, model: nn.Module, score: Score) -> None:
        self.model = model
        self.driven = graph.free
        self._graph, self._score = graph, score

    def attach(self) -> None:
        """See `Handle`."""

    def detach(self) -> None:
        """See `Handle`."""

    def write(self) -> None:
        """See `Handle`."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """None are added."""
        return ()

    def step(self, optimizer: Optimizer) -> None:
        """See `Handle`."""

    def importance(self) -> np.ndarray:
        """Score every unit by the weights as they are; see `Handle`."""
        return self._score(self._graph)

    def alive(self) -> np.ndarray:
        """See `Handle`: all of them, until the end."""
        return self._graph.everything

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> None:
        """See `Handle`: the network that was traced is the one to cut."""
