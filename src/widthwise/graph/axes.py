"""From ids and ties to units, and from interchangeable units to axes.

A unit is a connected component of tied ids. Units that appear in the same tensor dims equally often
are interchangeable, and together make an axis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from widthwise.graph.equal_counts import balance
from widthwise.graph.recording.ledger import PassLedger, Slot
from widthwise.rules import Components, Ids, UnitNumbers

OUTPUT = "network output"
"""Why the channels of outputs are frozen."""


@dataclass(frozen=True)
class Axis:
    """A set of interchangeable units: the thing that has a width."""

    name: str
    """Path of the layer that produces it, the first in execution order."""
    units: slice
    """Its units, by global number."""
    members: tuple[tuple[str, int], ...]
    """The tensor dims it appears in."""
    unit_size: int
    """Output channels of the producing layer that one unit takes."""
    frozen: str | None = None
    """Why no plan may touch it; None if it is free."""
    floor: int = 1
    """Fewest units that the network runs with, where the other axes are as narrow as they may."""

    @property
    def width(self) -> int:
        """Number of units."""
        return int(self.units.stop - self.units.start)


@dataclass(frozen=True)
class Units:
    """Units, axes, and which unit every id belongs to.

    Units of an axis are numbered in a row, axes in execution order. Units no layer produces (the
    channels of the image, the positions of an embedding) come last, belong to no axis, and stay.
    """

    of_id: UnitNumbers
    count: int
    axes: dict[str, Axis]
    slots: dict[str, tuple[UnitNumbers | None, ...]]
    resized: dict[tuple[str, str], tuple[UnitNumbers | int, ...]]


def solve(
    ledger: PassLedger,
    *,
    frozen: list[tuple[Ids, str]],
    ties: list[tuple[Ids, Ids]],
    resized: dict[tuple[str, str], tuple[Ids | int, ...]],
    ranks: dict[str, int],
) -> Units:
    """Turn what a pass wrote down into units and axes.

    Args:
        ledger: The pass.
        frozen: Frozen ids besides those on the ledger.
        ties: Ties besides those on the ledger.
        resized: Attributes that follow widths, besides those on the ledger.
        ranks: Number of dims of every tensor.

    Returns:
        Units and axes.
    """
    component = balance(_components(ledger, ties), ledger.counts)
    count = int(component.max(initial=-1)) + 1
    reasons, texts = _reasons([*ledger.frozen, *frozen], component, count)
    event, place = _producers(ledger, component, count)
    signature = _signatures(ledger, component, count, reasons)

    produced = np.flatnonzero(event >= 0)
    # Interchangeable units share a signature; an axis takes the time of its first producer.
    kinds, kind_of = np.unique(signature[produced], return_inverse=True)
    first = np.full(len(kinds), np.iinfo(np.int64).max)
    np.minimum.at(first, kind_of, event[produced] * (place.max(initial=0) + 1) + place[produced])
    order = np.lexsort((place[produced], event[produced], first[kind_of]))
    rest = np.flatnonzero(event < 0)

    number = np.empty(count, np.int64)
    number[produced[order]] = np.arange(len(produced))
    number[rest] = np.arange(len(produced), count)
    of_id = number[component]

    bounds = np.flatnonzero(np.diff(kind_of[order], prepend=-1, append=-1))
    spans = [slice(int(a), int(b)) for a, b in pairwise(bounds)]
    back = np.argsort(number, kind="stable")
    why = [texts[reasons[back[span.start]]] for span in spans]
    axes = _name_axes(ledger, of_id, spans, why)
    in_units = _remembered(ledger, of_id)
    for key, sizes in {**ledger.resized, **resized}.items():
        in_units[key] = tuple(size if isinstance(size, int) else of_id[size] for size in sizes)
    return Units(of_id, count, axes, _unit_slots(ledger, of_id, ranks), in_units)


def _remembered(
    ledger: PassLedger, of_id: UnitNumbers
) -> dict[tuple[str, str], tuple[UnitNumbers | int, ...]]:
    """Return the remembered sizes that tell of one width, wherever they were looked up."""
    found: dict[tuple[str, str], tuple[UnitNumbers | int, ...]] = {}
    for key, places in ledger.remembered.items():
        units = [of_id[ids] for ids in places if ids is not None]
        if len(units) == len(places) and all(np.array_equal(units[0], one) for one in units):
            found[key] = (units[0],)
    return found


def _components(ledger: PassLedger, ties: list[tuple[Ids, Ids]]) -> Components:
    """Number the connected components of tied ids, in the order of their first ids."""
    if ledger.components is None:
        ledger.components = _merge(ledger.id_count, ledger.ties)
    known = ledger.components
    if not ties:
        return known
    # Only what assumptions tie differs from one solution to the next.
    again = [(known[first], known[second]) for first, second in ties]
    return _merge(int(known.max(initial=-1)) + 1, again)[known]


def _merge(
    count: int, ties: list[tuple[Ids, Ids]] | list[tuple[Components, Components]]
) -> Components:
    """Number the connected components of the tied numbers below a count."""
    # Every component takes the lowest number among its neighbours, until all neighbours agree; each
    # round at least halves those that do not. SciPy's search takes more than twice as long.
    lowest = np.arange(count)
    first = np.concatenate([a for a, _ in ties] or [lowest[:0]])
    second = np.concatenate([b for _, b in ties] or [lowest[:0]])
    while (differs := first != second).any():
        first, second = first[differs], second[differs]
        np.minimum.at(lowest, np.maximum(first, second), np.minimum(first, second))
        while not np.array_equal(further := lowest[lowest], lowest):
            lowest = further
        first, second = lowest[first], lowest[second]
    return (np.cumsum(lowest == np.arange(count)) - 1)[lowest]


def _reasons(
    listed: list[tuple[Ids, str]], component: Components, count: int
) -> tuple[np.ndarray, list[str | None]]:
    """Return the number of the first reason that freezes each component, and the reasons."""
    texts: list[str | None] = list(dict.fromkeys(reason for _, reason in listed))
    numbers = {text: index for index, text in enumerate(texts)}
    reasons = np.full(count, len(texts))
    for ids, reason in listed:
        np.minimum.at(reasons, component[ids], numbers[reason])
    return reasons, [*texts, None]


def _producers(
    ledger: PassLedger, component: Components, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return, per component, the first weighted call that produces it and its place there."""
    event = np.full(count, -1)
    place = np.zeros(count, np.int64)
    for number, ids in reversed(list(enumerate(ledger.produced))):
        found = component[ids][::-1]
        event[found] = number
        place[found] = np.arange(len(ids))[::-1]
    return event, place


def _signatures(
    ledger: PassLedger, component: Components, count: int, reasons: np.ndarray
) -> np.ndarray:
    """Return a hash per component of the slots it appears in, how often, and why it is frozen."""
    random = np.random.default_rng(0)
    words = random.integers(1, 2**62, size=len(ledger.slots))
    signature = np.zeros(count, np.int64)
    lengths = [slot.length for slot in ledger.slots]
    np.add.at(signature, component[: ledger.parameter_ids], np.repeat(words, lengths))
    reason_words = random.integers(1, 2**62, size=int(reasons.max(initial=0)) + 1)
    return signature + reason_words[reasons]


def _unit_slots(
    ledger: PassLedger, of_id: UnitNumbers, ranks: dict[str, int]
) -> dict[str, tuple[UnitNumbers | None, ...]]:
    slots: dict[str, list[UnitNumbers | None]] = {
        name: [None] * rank for name, rank in ranks.items()
    }
    for slot in ledger.slots:
        slots[slot.tensor][slot.dim] = of_id[slot.start : slot.start + slot.length]
    return {name: tuple(dims) for name, dims in slots.items()}


def _name_axes(
    ledger: PassLedger, of_id: UnitNumbers, spans: list[slice], frozen: list[str | None]
) -> dict[str, Axis]:
    """Name every axis after the layer that first produces it."""
    starts = np.array([slot.start for slot in ledger.slots] + [ledger.id_count])
    axis_of_unit = np.full(int(of_id.max(initial=-1)) + 1, -1)
    for number, span in enumerate(spans):
        axis_of_unit[span] = number
    axis_of = axis_of_unit[of_id]
    makers: dict[int, tuple[Slot, np.ndarray]] = {}
    for ids in ledger.produced:
        for number, place in _first_places(axis_of[ids]):
            if number in makers or ids[place] >= starts[-1]:
                continue
            slot = ledger.slots[int(np.searchsorted(starts, ids[place], side="right")) - 1]
            inside = axis_of[slot.start : slot.start + slot.length] == number
            makers[number] = (slot, np.flatnonzero(inside))
    members: list[list[tuple[str, int]]] = [[] for _ in spans]
    for slot, number in _axes_in_slots(ledger, axis_of):
        members[number].append((slot.tensor, slot.dim))
    axes: dict[str, Axis] = {}
    for number, span in enumerate(spans):
        slot, inside = makers.get(number, (ledger.slots[0], np.empty(0, np.int64)))
        name = _axis_name(slot, inside, axes)
        size = max(len(inside) // (span.stop - span.start), 1)
        axes[name] = Axis(name, span, tuple(members[number]), size, frozen[number])
    return axes


def _first_places(values: np.ndarray) -> list[tuple[int, int]]:
    """Return each value and where it occurs first, in order of values."""
    # Nearly always it is one value, which needs no sorting.
    if len(values) and bool((values == values[0]).all()):
        return [(int(values[0]), 0)]
    found, at = np.unique(values, return_index=True)
    return list(zip(found.tolist(), at.tolist(), strict=True))


def _axes_in_slots(ledger: PassLedger, axis_of: np.ndarray) -> Iterator[tuple[Slot, int]]:
    """Yield every slot with the number of every axis in it, slot by slot."""
    starts = np.array([slot.start for slot in ledger.slots], np.int64)
    axis_of = axis_of[: ledger.parameter_ids]
    # Where a slot or an axis begins: there are few such places, and sorting every id takes longer.
    begins = np.append(True, axis_of[1:] != axis_of[:-1])[: len(axis_of)]
    begins[starts[starts < len(axis_of)]] = True
    at = np.flatnonzero(begins)
    slot_of = np.searchsorted(starts, at, side="right") - 1
    for slot, axis in sorted(set(zip(slot_of.tolist(), axis_of[at].tolist(), strict=True))):
        if axis >= 0:
            yield ledger.slots[slot], axis


def _axis_name(slot: Slot, inside: np.ndarray, taken: dict[str, Axis]) -> str:
    # Parametrizations and weight_norm keep the parts of a weight under names of their own.
    base = re.sub(r"\.parametrizations\.(\w+)\.original\d*$", r".\1", slot.tensor)
    base = re.sub(r"\.weight(_[gv])?$", "", base)
    if len(inside) == slot.length and base not in taken:
        return base
    name = base
    if len(inside) and len(inside) == inside[-1] - inside[0] + 1:
        name = f"{base}[{inside[0]}:{inside[-1] + 1}]"
    serial = 2
    unique = name
    while unique in taken:
        unique, serial = f"{name}#{serial}", serial + 1
    return unique
