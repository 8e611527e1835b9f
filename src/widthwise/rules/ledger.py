"""What rules ask of a pass, and what they tell it. They reach both through `Op` only."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from widthwise.rules.labels import Ids, Label


class Labels(Protocol):
    """What a rule may ask while a network runs."""

    def label(self, tensor: Tensor) -> Label:
        """Return the label of a tensor."""
        ...

    def is_weight(self, tensor: Tensor) -> bool:
        """Tell whether a tensor was computed from parameters and buffers alone."""
        ...

    def is_loose(self, ids: Ids) -> bool:
        """Tell whether none of these ids belongs to a parameter."""
        ...

    def new_ids(self, count: int) -> Ids:
        """Make ids that belong to no parameter."""
        ...

    def mix(self, ids: Ids) -> bool:
        """Hear that a result depends on which of these ids exist; tell whether some may go."""
        ...


class Notes(Protocol):
    """What a rule says about a call, for somebody who may write it down."""

    def tie(self, first: Ids, second: Ids) -> None:
        """Note that ids live and die together, pair by pair."""
        ...

    def equal_counts(self, first: Ids, second: Ids) -> None:
        """Note that equally many of these ids are kept as of those."""
        ...

    def freeze(self, ids: Ids, reason: str) -> None:
        """Note that no plan may touch these ids."""
        ...

    def number(self, tensor: Tensor, ids: Ids, reason: str) -> None:
        """Note that a tensor holds places of these ids, as numbers; whoever reads it needs all."""
        ...

    def produce(self, ids: Ids) -> None:
        """Note that these ids are the output channels of a weighted operator."""
        ...

    def consume(self, ids: Ids) -> None:
        """Note that these ids of a weight are contracted with an activation."""
        ...

    def cost(self, coefficient: int, factors: tuple[Ids, ...]) -> None:
        """Note MACs: ``coefficient x product over factors of the number of kept ids``."""
        ...

    def resize(self, path: str, attribute: str, sizes: tuple[Ids | int, ...]) -> None:
        """Note that an attribute of the module at a path repeats sizes."""
        ...


class _NoNotes:
    """Hears everything and writes nothing."""

    def tie(self, first: Ids, second: Ids) -> None: ...

    def equal_counts(self, first: Ids, second: Ids) -> None: ...

    def freeze(self, ids: Ids, reason: str) -> None: ...

    def number(self, tensor: Tensor, ids: Ids, reason: str) -> None: ...

    def produce(self, ids: Ids) -> None: ...

    def consume(self, ids: Ids) -> None: ...

    def cost(self, coefficient: int, factors: tuple[Ids, ...]) -> None: ...

    def resize(self, path: str, attribute: str, sizes: tuple[Ids | int, ...]) -> None: ...


NO_NOTES: Notes = _NoNotes()
"""For a pass that asks for labels only: what the network ties is known already."""
