"""Budget: multiply-accumulates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from widthwise.cost.base import read_amount
from widthwise.graph import ChannelGraph


@dataclass(frozen=True)
class Macs:
    """At most so many multiply-accumulates for one input, of layers and products of activations.

    Args:
        amount: A fraction of the full network's MACs (``0.5`` or ``"50%"``), or their number.

    Raises:
        BudgetError: If the amount is neither.

    Example:
        >>> Macs(0.5), Macs("50%"), Macs(300e6)
        (Macs(amount=0.5), Macs(amount='50%'), Macs(amount=300000000.0))
    """

    name: ClassVar[str] = "macs"
    title: ClassVar[str] = "MACs"
    amount: float | str

    def __post_init__(self) -> None:
        read_amount(self)

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Return the MACs of a plan."""
        return graph.macs(kept)
