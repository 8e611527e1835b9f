"""What a method of a recipe is: settings that decide widths, given a bench to work on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn
from torch.optim import Optimizer

from widthwise.cost import Budget
from widthwise.plans import Plan
from widthwise.rewrites import Rewrite
from widthwise.search.limits import Limits
from widthwise.search.search import Search


class Bench(Protocol):
    """What a job lends to a method: a network, data and a way to train."""

    example: Any
    """Example inputs of the network."""
    loss: Callable[[Any, Any], Tensor]
    """Called as ``loss(network(inputs), target)``."""

    def network(self) -> nn.Module:
        """Build the user's own network, with the same weights at every call."""
        ...

    def build(self) -> nn.Module:
        """Build the user's own network with whatever weights the generator gives."""
        ...

    def batch(self, number: int = 0) -> tuple[Any, Any]:
        """Return a training batch, ``(inputs, target)``, as the network is trained on it.

        Args:
            number: Another one for each; the same at every call.
        """
        ...

    @property
    def steps(self) -> int:
        """Steps of the optimizer in all epochs of `train`."""
        ...

    def train(
        self, network: nn.Module, attach: Callable[[nn.Module], Search]
    ) -> tuple[Search, Optimizer]:
        """Train a network with a search attached, until the search is done or its epochs are over.

        Args:
            network: Changed in place.
            attach: Attaches the search.

        Returns:
            The search, not finished yet, and the optimizer.
        """
        ...

    def train_plainly(self, network: nn.Module) -> Optimizer:
        """Train a network as it is, for as long as a search would have taken.

        Args:
            network: Changed in place.

        Returns:
            The optimizer.
        """
        ...

    def says(self, number: int, of: int, what: str) -> None:
        """Tell the user what is being done while nothing is trained.

        Args:
            number: Of the step that begins, from 0.
            of: How many there are.
            what: Is done in it.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a method has decided."""

    network: nn.Module
    """The narrow network, with the weights to go on from."""
    plan: Plan
    """How it was cut."""
    optimizer: Optimizer | None = None
    """The optimizer of the search, carried over the cut; None where nothing was trained."""


class Method(Protocol):
    """The settings of a method in a recipe, chosen by ``method.name``."""

    name: str
    """Key in `METHODS`, and of the recipes that choose it."""
    title: ClassVar[str]
    """What people call it."""
    trains: ClassVar[bool]
    """Whether it trains while it decides: its recipes then have a `search` stage."""
    inherits: ClassVar[bool]
    """Whether the narrow network goes on with weights of the wide one, or starts fresh."""
    goes_on: ClassVar[bool]
    """Whether it goes on from the weights that a network has, or makes its own."""

    @property
    def before(self) -> tuple[Rewrite, ...]:
        """What it does to the user's own network before it is traced; nothing, most of them."""
        ...

    def decide(self, bench: Bench, *, budget: Sequence[Budget], limits: Limits, seed: int) -> Found:
        """Decide the width of every layer.

        Args:
            bench: What to work on.
            budget: All of them are met; fractions refer to the user's own network.
            limits: Floors, alignment and choice of axes, the same for every arm of the job.
            seed: Of whatever is random.

        Returns:
            The narrow network and its plan.
        """
        ...
