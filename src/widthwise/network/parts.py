"""Networks that are used in parts, such as once per video and once per frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part that is run on its own, and becomes a file of its own when it is exported."""

    module: nn.Module
    """Shares its layers with the network."""
    inputs: Mapping[str, Tensor]
    """Examples, by the names of the arguments of its ``forward``."""
    unbatched: frozenset[str] = frozenset()
    """Names of inputs whose first size is always that of the example; that of the others is the
    batch."""


@runtime_checkable
class InParts(Protocol):
    """A network that says which parts it is used in."""

    def parts(self) -> Mapping[str, Part]:
        """Give the parts by name.

        Returns:
            What together does what the ``forward`` does.
        """
        ...
