"""Budget: memory of a training step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from widthwise.cost.base import read_amount
from widthwise.graph import ChannelGraph


@dataclass(frozen=True)
class Memory:
    """At most so many bytes of parameters and of activations for one input.

    Activations are all that operators write, as a training step holds them; see
    `ChannelGraph.activation_bytes`.

    Args:
        amount: A fraction of the full network's bytes, or their number.

    Raises:
        BudgetError: If the amount is neither.
    """

    name: ClassVar[str] = "memory"
    title: ClassVar[str] = "bytes of parameters and activations"
    amount: float | str

    def __post_init__(self) -> None:
        read_amount(self)

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Return the bytes of a plan."""
        return graph.parameter_bytes(kept) + graph.activation_bytes(kept)
