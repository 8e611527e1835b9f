"""The interface of a rewrite."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self

from torch import nn


class Rewrite(Protocol):
    """A small frozen record that turns a network into another ordinary network.

    A plan records its rewrites in `Plan.before`. `shrink` and `load` apply them in order, trace the
    result, and narrow that: ranks and blocks are ordinary axes or modules, so trace, cost, budget,
    proof and report need to know nothing about them.
    """

    name: ClassVar[str]
    """Key in a plan file."""

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the rewritten network; ``model`` is not changed. Both may be on the meta device.

        Args:
            model: The network.
            inputs: Example inputs, as for `trace`, for rewrites that have to run the network.

        Returns:
            A new network that shares no memory with ``model``.
        """
        ...

    def reference(self, model: nn.Module, inputs: Any) -> nn.Module | None:
        """Return a network that the rewritten one must equal; None if it computes another function.

        Args:
            model: The network before the rewrite; not changed.
            inputs: Example inputs, as for `trace`.

        Returns:
            The network to compare with, which may be ``model`` itself.
        """
        ...

    def to_spec(self) -> dict[str, Any]:
        """Return plain values for the plan file, without the name."""
        ...

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Self:
        """Build the rewrite from what `to_spec` returned; tuples come back as lists."""
        ...
