"""The calls at a place, and the place of a call as seen from the modules around it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain

from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import Place, anchor_at, seen_from


class Siblings:
    """The calls of some passes, to be found by place."""

    def __init__(self, passes: Iterable[Sequence[Call]], anchors: Mapping[str, str]) -> None:
        self._anchors = anchors
        self._passes: list[dict[tuple[str, int], list[Call]]] = []
        for calls in passes:
            index: dict[tuple[str, int], list[Call]] = defaultdict(list)
            for call in calls:
                index[call.place.operator, call.place.ordinal].append(call)
            self._passes.append(index)

    def at(self, place: Place) -> dict[str, list[Call]]:
        """Return the calls at a place, by the path of the module it is seen from.

        Those of the first pass that has any: dropout and the like make the numbers of calls differ
        from pass to pass.
        """
        found: dict[str, list[Call]] = {}
        for index in self._passes:
            found = {**self._within(index, place), **found}
        return found

    def everywhere(self, place: Place) -> Iterator[Call]:
        """Yield the calls at a place in all passes."""
        for index in self._passes:
            yield from chain.from_iterable(self._within(index, place).values())

    def _within(
        self, index: Mapping[tuple[str, int], Sequence[Call]], place: Place
    ) -> dict[str, list[Call]]:
        found: dict[str, list[Call]] = defaultdict(list)
        for call in index.get((place.operator, place.ordinal), ()):
            anchor = _above(call.path, place.below)
            if anchor is not None and self._anchors.get(anchor) == place.kind:
                found[anchor].append(call)
        return found


def anchor_of(call: Call) -> str:
    """Return the path of the module that a call's place speaks of."""
    return _above(call.path, call.place.below) or ""


def _above(path: str, below: str) -> str | None:
    """Return the path that another, which ends so, lies below; None if it ends otherwise."""
    if not below or path == below:
        return path.removesuffix(below)
    return path.removesuffix(f".{below}") if path.endswith(f".{below}") else None


def place_from(anchors: Mapping[str, str], call: Call, path: str) -> Place:
    """Return the place of a call as seen from a module around it, or from the class around that.

    Args:
        anchors: The classes that places are spoken of from; see `anchors_of`.
        call: The call.
        path: Of the module; if the call is not inside, it is seen from the network.

    Returns:
        The place.
    """
    anchor = anchor_at(anchors, path)
    inside = seen_from(call.path, anchor)
    if inside is None:
        anchor, inside = "", call.path
    return Place(anchors[anchor], inside, call.place.ordinal, call.place.operator)
