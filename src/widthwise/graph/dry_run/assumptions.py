"""What a trace assumes about code that one pass cannot read: readings, equal counts, attributes.

Each assumption is written so that it means the same for every sibling: the same call in modules of
the same class (`Place`), below the module those calls are anchored in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TypeAlias

import numpy as np

from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import Place
from widthwise.graph.recording.siblings import Siblings
from widthwise.rules import Ids


@dataclass(frozen=True)
class At:
    """A dim of a tensor that a call takes or returns."""

    place: Place
    of_output: bool
    tensor: int
    dim: int

    def ids(self, call: Call) -> Ids | None:
        """Return the ids of this dim in one such call."""
        labels = call.outputs if self.of_output else call.inputs
        if self.tensor >= len(labels) or self.dim >= len(labels[self.tensor]):
            return None
        return labels[self.tensor][self.dim]


def dims_of(call: Call, place: Place | None = None) -> Iterator[tuple[At, Ids]]:
    """Yield the labelled dims of a call, and their ids; at its own place if no other is given."""
    for of_output, labels in ((False, call.inputs), (True, call.outputs)):
        for tensor, label in enumerate(labels):
            for dim, ids in enumerate(label):
                if ids is not None:
                    yield At(place or call.place, of_output, tensor, dim), ids


@dataclass(frozen=True)
class Part:
    """Some indices of such a dim."""

    whole: At
    start: int
    stop: int

    @property
    def place(self) -> Place:
        """The call it is a dim of."""
        return self.whole.place

    def ids(self, call: Call) -> Ids | None:
        """Return the ids of this part in one such call."""
        ids = self.whole.ids(call)
        return None if ids is None else ids[self.start : self.stop]


@dataclass(frozen=True)
class Times:
    """Such a dim, several times over."""

    once: At
    times: int

    @property
    def place(self) -> Place:
        """The call it is a dim of."""
        return self.once.place

    def ids(self, call: Call) -> Ids | None:
        """Return the ids of this dim in one such call, repeated."""
        ids = self.once.ids(call)
        return None if ids is None else np.tile(ids, self.times)


@dataclass(frozen=True)
class Reading:
    """An ambiguous call is read in the way of this number; see `Op.choice`."""

    place: Place
    number: int


@dataclass(frozen=True)
class Follow:
    """An attribute of a module, such as a head size, follows widths it equals when full."""

    module: str
    """Path of the module below the anchor."""
    attribute: str
    sources: tuple[At | Part | Times | int, ...]
    """A dim for an integer; for a tuple or list, a dim or a constant per entry."""

    @property
    def place(self) -> Place:
        """The call whose dims are followed."""
        return next(source.place for source in self.sources if not isinstance(source, int))


@dataclass(frozen=True)
class Equal:
    """Two dims keep equal counts, index by index; the shorter repeats along the longer."""

    first: At
    second: At


@dataclass(frozen=True)
class Divide:
    """A dim keeps a count that a constant number of heads or groups divides."""

    source: At
    parts: int


@dataclass(frozen=True)
class Freeze:
    """All ids that a call touches are frozen, or those of one dim."""

    where: Place | At
    reason: str


Assumption: TypeAlias = Reading | Follow | Equal | Divide | Freeze
Resized: TypeAlias = dict[tuple[str, str], tuple[Ids | int, ...]]


@dataclass(frozen=True)
class Assumptions:
    """All assumptions of a trace. Adding one makes a new set."""

    readings: Mapping[Place, int] = field(default_factory=lambda: MappingProxyType({}))
    follows: tuple[Follow, ...] = ()
    equals: tuple[Equal, ...] = ()
    divides: tuple[Divide, ...] = ()
    frozen: Mapping[Place | At, str] = field(default_factory=lambda: MappingProxyType({}))

    def plus(self, *added: Assumption) -> Assumptions:
        """Return the set with more assumptions."""
        new = self
        for one in added:
            match one:
                case Reading():
                    new = replace(new, readings={**new.readings, one.place: one.number})
                case Follow():
                    new = replace(new, follows=(*new.follows, one))
                case Equal():
                    new = replace(new, equals=(*new.equals, one))
                case Divide():
                    new = replace(new, divides=(*new.divides, one))
                case Freeze():
                    new = replace(new, frozen={one.where: one.reason, **new.frozen})
        return new

    def ties(self, siblings: Siblings) -> Iterator[tuple[Ids, Ids]]:
        """Yield the ties that equal and divisible counts mean for some calls."""
        for divide in self.divides:
            for found in siblings.at(divide.source.place).values():
                ids = divide.source.ids(found[-1])
                if ids is not None and len(ids) % divide.parts == 0:
                    parts = ids.reshape(divide.parts, -1)
                    yield np.tile(parts[0], divide.parts - 1), parts[1:].ravel()
        for equal in self.equals:
            partners = siblings.at(equal.second.place)
            for anchor, found in siblings.at(equal.first.place).items():
                for call, other in zip(found, partners.get(anchor, ()), strict=False):
                    first, second = equal.first.ids(call), equal.second.ids(other)
                    if first is not None and second is not None:
                        yield from _tie(first, second)

    def resized(self, siblings: Siblings) -> Resized:
        """Return the attributes that follow widths of some calls, by module path and name."""
        found: Resized = {}
        for follow in self.follows:
            for anchor, places in siblings.at(follow.place).items():
                sizes = [
                    source if isinstance(source, int) else source.ids(places[-1])
                    for source in follow.sources
                ]
                path = f"{anchor}.{follow.module}".strip(".")
                if all(size is not None for size in sizes):
                    found[path, follow.attribute] = tuple(s for s in sizes if s is not None)
        return found


def _tie(first: Ids, second: Ids) -> Iterator[tuple[Ids, Ids]]:
    long, short = (first, second) if len(first) >= len(second) else (second, first)
    if len(long) % len(short) == 0:
        yield long, np.tile(short, len(long) // len(short))
