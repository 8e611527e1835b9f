"""The interface of a handle."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from widthwise.graph import ChannelGraph
from widthwise.rewrites import Rewrite
from widthwise.search.limits import Limits


@dataclass(frozen=True, kw_only=True)
class Ground:
    """A network that could be cut, and what a handle has learned about its units.

    Attributes:
        graph: Its trace.
        before: What makes it of the user's own network, for the plan.
        limits: What no plan of it may go below; axes that the handle says nothing about excluded.
        importance: Low goes first. Float64, shape ``[units]``.
        alive: Which units a cut at this moment would keep, floors respected. Bool, ``[units]``.
    """

    graph: ChannelGraph
    before: tuple[Rewrite, ...] = ()
    limits: Limits
    importance: np.ndarray
    alive: np.ndarray


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
        """Score every unit by what has been learned; low goes first.

        Asked while attached, and in the end when it is detached and its weights are written.

        Returns:
            Float64, shape ``[units]``.
        """
        ...

    def alive(self) -> np.ndarray:
        """Tell which units a cut at this moment would keep, floors respected. Bool, ``[units]``."""
        ...

    def better_ground(self, ground: Ground, kept: np.ndarray | None) -> Ground | None:
        """Say which network to cut instead of one: with blocks dropped, or layers decomposed.

        Asked again about each answer, with what would be kept of that, until there is none.

        Args:
            ground: The network; that of the trace at first.
            kept: Units that would be kept of it, bool, shape ``[units]``; None if no choice of them
                within its limits meets the budgets.

        Returns:
            Another one, or None where this one serves, as with most handles.
        """
        ...


@runtime_checkable
class Remembering(Protocol):
    """A handle with a state that the network's own `state_dict` does not hold."""

    def state_dict(self) -> dict[str, Any]:
        """Return it: numbers, texts, tensors, and lists of them."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from such a state.

        Args:
            state: From `state_dict`, of a handle on the same network.
        """
        ...
