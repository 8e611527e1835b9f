"""Budget: parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from widthwise.cost.base import read_amount
from widthwise.graph import ChannelGraph


@dataclass(frozen=True)
class Params:
    """At most so many parameters.

    Args:
        amount: A fraction of the full network's parameters, or their number.

    Raises:
        BudgetError: If the amount is neither.
    """

    name: ClassVar[str] = "params"
    title: ClassVar[str] = "parameters"
    amount: float | str

    def __post_init__(self) -> None:
        read_amount(self)

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Return the parameters of a plan."""
        return graph.params(kept)
