"""Attributes of modules that repeat sizes: which of them may follow a width, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations
from typing import TypeGuard

import numpy as np
from torch import nn

from widthwise.graph.dry_run.assumptions import Assumption, At, Divide, Follow, Part, Times
from widthwise.graph.dry_run.rehearsal import Failure
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.places import seen_from
from widthwise.graph.recording.siblings import anchor_of
from widthwise.rules import Ids

_MOST_TIMES = 4


def modules_around(
    call: Call, failure: Failure, modules: Mapping[str, nn.Module]
) -> Iterator[tuple[str, nn.Module]]:
    """Yield the running module and those around it up to the anchor, by path below the anchor.

    Then what the running module is made of: code reads sizes of its children, too.
    """
    anchor = anchor_of(call)
    path = failure.path
    running = modules.get(path)
    while (seen := seen_from(path, anchor)) is not None:
        module = modules.get(path)
        if module is not None and not _is_layer(module):
            yield seen, module
        if not path:
            break
        path = path.rpartition(".")[0]
    seen = seen_from(failure.path, anchor)
    if seen is not None and running is not None:
        for name, module in running.named_children():
            if not _is_layer(module):
                yield f"{seen}.{name}".strip("."), module


def follows_of(
    blamed: Sequence[Call],
    narrowed: Sequence[tuple[At, Ids]],
    around: Sequence[tuple[str, nn.Module]],
) -> Iterator[Follow]:
    """Yield the attributes that equal a size which the attempt narrowed."""
    sizes: dict[int, At] = {}
    for at, ids in narrowed:
        sizes.setdefault(len(ids), at)
    tuples = dict(_tuples(blamed, narrowed))
    for below, module in around:
        for name, value in vars(module).items():
            if is_count(value) and value in sizes:
                yield Follow(below, name, (sizes[value],))
            elif isinstance(value, list | tuple) and all(map(is_count, value)):
                if sources := tuples.get(tuple(value)):
                    yield Follow(below, name, sources)


def elsewhere(follows: Sequence[Follow], narrowed: Sequence[tuple[At, Ids]]) -> Iterator[Follow]:
    """Yield the same attributes as followers of other dims of equal size."""
    sizes = dict(narrowed)
    for follow in follows:
        source = follow.sources[0]
        if len(follow.sources) > 1 or not isinstance(source, At):
            continue
        seen = {sizes[source].tobytes()}
        for at, ids in narrowed:
            if len(ids) == len(sizes[source]) and ids.tobytes() not in seen:
                seen.add(ids.tobytes())
                yield replace(follow, sources=(at,))


def split_later(
    calls: Sequence[Call],
    narrowed: Sequence[tuple[At, Ids]],
    around: Sequence[tuple[str, nn.Module]],
) -> Iterator[Sequence[Assumption]]:
    """Yield the attributes that equal the parts into which code splits a size that adds them up."""
    for at, ids in narrowed:
        parts = _split_of(ids, calls)
        found = [
            Follow(below, name, (Part(at, *parts[value]),))
            for below, module in around
            for name, value in vars(module).items()
            if is_count(value) and value in parts
        ]
        if found:
            yield found


def _split_of(ids: Ids, calls: Sequence[Call]) -> dict[int, tuple[int, int]]:
    """Return the places of the parts into which one of some calls splits a dim, by size."""
    for call in calls:
        if call.name != "aten.split_with_sizes":
            continue
        for dim, found in enumerate(call.inputs[0]):
            if found is not None and np.array_equal(found, ids):
                sizes = [shape[dim] for shape in call.shapes]
                stops = np.cumsum(sizes).tolist()
                return {size: (stop - size, stop) for size, stop in zip(sizes, stops, strict=True)}
    return {}


def parts_of(
    narrowed: Sequence[tuple[At, Ids]], around: Sequence[tuple[str, nn.Module]]
) -> Iterator[Sequence[Assumption]]:
    """Yield attributes of which a size is a multiple (``4 * self.width``), a sum or a fraction."""
    sizes: dict[int, At] = {}
    for at, ids in narrowed:
        sizes.setdefault(len(ids), at)
    counts = [
        (below, name, value)
        for below, module in around
        for name, value in vars(module).items()
        if is_count(value) and value > 1
    ]
    for (below, name, value), (also, other, rest) in permutations(counts, 2):
        total = sizes.get(value + rest)
        if total is not None and below == also:
            yield [
                Follow(below, name, (Part(total, 0, value),)),
                Follow(below, other, (Part(total, value, value + rest),)),
            ]
    multiples = [
        (size // value, below, name, value, at)
        for size, at in sizes.items()
        for below, name, value in counts
        if value < size and size % value == 0
    ]
    for times, below, name, value, at in sorted(multiples, key=lambda found: found[0]):
        yield [Divide(at, times), Follow(below, name, (Part(at, 0, value),))]
    for size, at in sizes.items():
        for below, name, value in counts:
            if size > 1 and value % size == 0 and 1 < value // size <= _MOST_TIMES:
                yield [Follow(below, name, (Times(at, value // size),))]


def _tuples(
    blamed: Sequence[Call], narrowed: Sequence[tuple[At, Ids]]
) -> Iterator[tuple[tuple[int, ...], tuple[At | int, ...]]]:
    """Yield the tuples of sizes around a call: sizes of its parts, and shapes it gives."""
    dims = {at: len(ids) for at, ids in narrowed if at.of_output}
    if dims:
        yield tuple(dims.values()), tuple(dims)
    for call in blamed:
        for tensor, shape in enumerate(call.shapes):
            places = [At(call.place, True, tensor, dim) for dim in range(len(shape))]
            if any(at in dims for at in places):
                sources = tuple(at if at in dims else shape[at.dim] for at in places)
                yield shape, sources
                # Code adds the batch: ``x.view(x.size(0), *self.shape)``.
                yield shape[1:], sources[1:]


def is_count(value: object) -> TypeGuard[int]:
    """Tell whether an attribute may be a size."""
    return isinstance(value, int) and not isinstance(value, bool)


def _is_layer(module: nn.Module) -> bool:
    """Tell whether a module is a single layer of torch.nn, whose attributes are brought in line."""
    return type(module).__module__.startswith("torch.nn.") and not any(
        True for _ in module.children()
    )
