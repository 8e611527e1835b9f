"""The interface of a source of weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
from torch import nn


class Weights(Protocol):
    """What a search attaches to a network to learn the importance of its units."""

    model: nn.Module
    """The network, attached to or not."""
    latents: nn.Parameter
    """One entry per unit, shape ``[u]``."""
    driven: np.ndarray
    """Bool, shape ``[u]``: units whose latent takes part in at least one weight. The latents of
    the others learn nothing, so their axes keep their full width."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """Every parameter that attaching adds to the network, the latents included."""
        ...

    def attach(self) -> None:
        """Put the network's weights under the control of the latents."""
        ...

    def detach(self) -> None:
        """Give the network its own parameters back, with their own values, order and flags."""
        ...

    def write(self) -> None:
        """Store the weights that the latents give in the network's own parameters."""
        ...
