"""The interface of a handle."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from torch import nn


class Handle(Protocol):
    """What a search attaches to a network to learn which units it needs.

    A handle owns whatever pushes units out (its prox, its pressure, its floors) and whatever tells
    units apart. The search owns when things happen.
    """

    model: nn.Module
    """The network, attached to or not."""
    driven: np.ndarray
    """Bool, shape ``[units]``: units it can say something about. The axes of others stay whole."""

    def attach(self) -> None:
        """Take hold of the network's weights, by `torch.nn.utils.parametrize`."""
        ...

    def detach(self) -> None:
        """Give the network its own parameters back, with their own values, order and flags."""
        ...

    def write(self) -> None:
        """Store the weights that the network computes with in its own parameters."""
        ...

    def parameters(self) -> Iterable[nn.Parameter]:
        """Every parameter that attaching adds to the network."""
        ...

    def step(self, optimizer: torch.optim.Optimizer) -> None:
        """Do what the method does after every step of the optimizer.

        Args:
            optimizer: It trains the network and the parameters of this handle.

        Raises:
            SearchError: If the optimizer lacks parameters of this handle, or training has diverged.
        """
        ...

    def importance(self) -> np.ndarray:
        """Score every unit by what has been learned; low goes first. Float64, shape ``[units]``."""
        ...

    def alive(self) -> np.ndarray:
        """Tell which units a cut at this moment would keep, floors respected. Bool, ``[units]``."""
        ...
