"""Operators that put dims together or take them apart: cat, stack, split, slice, select, index."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from widthwise.rules.labels import Ids, Label, blank
from widthwise.rules.op import Op
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(aten.cat, aten.concat)
def cat(op: Op) -> Label:
    """Concatenate the ids; parts without ids are channels of constant number."""
    parts = [part for part in op.args[0] if part.dim() == op.out.dim()]
    dim = op.arg(1, "dim", 0) % op.out.dim()
    label: list[Ids | None] = list(op.label(parts[0]))
    for part in parts[1:]:
        for other, ids in enumerate(op.label(part)):
            if other != dim:
                label[other] = op.tie(label[other], ids)
    pieces = [op.label(part)[dim] for part in parts]
    if all(piece is None for piece in pieces):
        label[dim] = None
        return tuple(label)
    label[dim] = np.concatenate(
        [
            op.constant_ids(int(part.shape[dim]), "is concatenated as a constant")
            if piece is None
            else piece
            for part, piece in zip(parts, pieces, strict=True)
        ]
    )
    return tuple(label)


@register(aten.stack)
def stack(op: Op) -> Label:
    """Tie the parts index by index; the new dim is constant."""
    parts = op.args[0]
    dim = op.arg(1, "dim", 0) % op.out.dim()
    label = list(op.label(parts[0]))
    for part in parts[1:]:
        label = [op.tie(a, b) for a, b in zip(label, op.label(part), strict=True)]
    label.insert(dim, None)
    return tuple(label)


@register(
    aten.split,
    aten.split_with_sizes,
    aten.chunk,
    aten.split_copy,
    aten.split_with_sizes_copy,
    aten.unsafe_chunk,
    aten.unsafe_split,
    aten.unsafe_split_with_sizes,
)
def split(op: Op) -> list[Label]:
    """Parts of equal size keep equal counts; unequal parts any."""
    source = op.args[0]
    dim = op.arg(2, "dim", 0) % source.dim()
    lengths = [int(out.shape[dim]) for out in op.outputs]
    ids = op.label(source)[dim]
    if ids is not None and len(lengths) > 1:
        # Sizes of unequal parts are numbers of the code, and may follow widths from an attribute.
        if op.choice(1) is None:
            op.freeze(ids, "is split into parts of constant size")
        elif len(set(lengths)) == 1:
            op.equal_counts(ids.reshape(len(lengths), -1))
    labels = []
    start = 0
    for length in lengths:
        label = list(op.label(source))
        label[dim] = None if ids is None else ids[start : start + length]
        labels.append(tuple(label))
        start += length
    return labels


@register(aten.slice, aten.narrow, aten.slice_copy)
def slice_(op: Op) -> Label:
    """Slice the ids."""
    # A part of a channel dim has a length of its own, from an attribute that may follow; or it is a
    # share of the width (`x[:, : c // 2]`), and then equal segments keep equal counts; or constant.
    source, out = op.args[0], op.out
    dim = op.arg(1, "dim", 0) % source.dim()
    label = list(op.label(source))
    ids = label[dim]
    if ids is None or source.shape[dim] == out.shape[dim]:
        return tuple(label)
    start = _start(op, int(source.shape[dim]))
    step = int(op.arg(4, "step", 1)) if "slice" in op.name else 1
    length = int(out.shape[dim])
    even = step == 1 and length > 0 and len(ids) % length == 0 and start % length == 0
    match op.choice(2 if even else 1) if step == 1 else None:
        case 0:
            pass
        case 1:
            op.equal_counts(ids.reshape(-1, length))
        case _:
            op.freeze(ids, "is sliced at constant places")
    label[dim] = ids[start : start + length * step : step]
    return tuple(label)


def _start(op: Op, size: int) -> int:
    start = op.arg(2, "start")
    start = 0 if start is None else int(start)
    return min(start + size if start < 0 else start, size)


@register(aten.select)
def select(op: Op) -> Label:
    """Drop a dim; a channel picked by its number must stay where it is."""
    source = op.args[0]
    dim = int(op.args[1]) % source.dim()
    label = list(op.label(source))
    op.freeze(label.pop(dim), "one index is picked by its number")
    return tuple(label)


@register(aten.unbind)
def unbind(op: Op) -> list[Label]:
    """Drop a dim, one output per index."""
    source = op.args[0]
    dim = int(op.arg(1, "dim", 0)) % source.dim()
    label = list(op.label(source))
    op.freeze(label.pop(dim), "is taken apart index by index")
    return [tuple(label)] * len(op.outputs)


@register(aten.index_select)
def index_select(op: Op) -> Label:
    """Indices are values, unknown to a trace."""
    dim = int(op.args[1]) % op.args[0].dim()
    label = list(op.label(op.args[0]))
    op.freeze(label[dim], "is indexed by value")
    label[dim] = None
    return tuple(label)


@register(aten.index, aten._unsafe_index)
def index(op: Op) -> Label:
    """Advanced indexing: indexed dims give way to the dims of the index."""
    tensors = [item for item in op.args[1] if isinstance(item, Tensor)]
    # What a table holds at a matrix of numbers has as many rows as the matrix.
    alone = len(tensors) == 1 and not _is_mask(tensors[0])
    indexed = _freeze_indexed(op, kept=alone)
    # A number of zero picks a row as well: no mask of weights silences what is removed.
    op.mixes = alone and any(ids is not None for ids in op.label(tensors[0]))
    return _at_indices(op, indexed, op.label(tensors[0]) if alone else None)


@register(aten.index_put, aten.index_put_, aten._index_put_impl_)
def index_put(op: Op) -> Label:
    """What is put at indices meets what is left beside them."""
    target, values = op.args[0], op.args[2]
    label = op.label(target)
    indexed = _freeze_indexed(op)
    places = _at_indices(op, indexed)
    shift = len(places) - values.dim()
    tied = list(label)
    for dim, (ids, size) in enumerate(zip(op.label(values), values.shape, strict=True)):
        place = places[dim + shift]
        beside = (d for d, own in enumerate(label) if d not in indexed and own is place)
        where = next(beside, None) if place is not None else None
        if where is not None and size != 1:
            tied[where] = op.tie(place, ids)
        else:
            op.freeze(ids, "is put at indices")
    return tuple(tied)


def _freeze_indexed(op: Op, *, kept: bool = False) -> list[int]:
    """Freeze what is indexed and masks, and indices unless theirs are the result's dims.

    Returns:
        The dims that are indexed.
    """
    label = op.label(op.args[0])
    indexed: list[int] = []
    dim = 0
    for item in op.args[1]:
        # A mask stands for as many dims as it has.
        length = item.dim() if isinstance(item, Tensor) and _is_mask(item) else 1
        if isinstance(item, Tensor):
            indexed.extend(range(dim, dim + length))
            for ids in (*label[dim : dim + length], *(() if kept else op.label(item))):
                op.freeze(ids, "is indexed by value")
        dim += length
    return indexed


def _at_indices(op: Op, indexed: list[int], picked: Label | None = None) -> Label:
    """Return the label of what the indices pick: theirs, or dims without ids."""
    label = op.label(op.args[0])
    if not indexed:
        return label
    tensors = [item for item in op.args[1] if isinstance(item, Tensor)]
    width = max(1 if _is_mask(item) else item.dim() for item in tensors)
    rest = [label[dim] for dim in range(len(label)) if dim not in indexed]
    adjacent = indexed == list(range(indexed[0], indexed[-1] + 1))
    place = indexed[0] if adjacent else 0
    return (*rest[:place], *(picked or blank(width)), *rest[place:])


def _is_mask(item: Any) -> bool:
    return item.dtype in (torch.bool, torch.uint8)


@register(aten.gather)
def gather(op: Op) -> Label:
    """Pick by value along one dim; along the others, index and source go side by side."""
    source, index = op.args[0], op.args[2]
    if source.dim() == 0:
        return op.label(index)
    along = int(op.args[1]) % source.dim()
    label: list[Ids | None] = []
    for dim, (own, theirs) in enumerate(zip(op.label(source), op.label(index), strict=True)):
        if dim != along and source.shape[dim] == index.shape[dim]:
            label.append(op.tie(own, theirs))
            continue
        op.freeze(own, "is gathered by value" if dim == along else "is gathered in part")
        label.append(theirs)
    return tuple(label)


@register(aten.flip)
def flip(op: Op) -> Label:
    """Reversing kept channels keeps their reversed order."""
    dims = {int(dim) % op.out.dim() for dim in op.args[1]}
    return tuple(
        ids[::-1].copy() if ids is not None and dim in dims else ids
        for dim, ids in enumerate(op.label(op.args[0]))
    )


@register(aten.roll)
def roll(op: Op) -> Label:
    """Rolling moves channels by a constant number of places."""
    label = op.label(op.args[0])
    for dim in op.arg(2, "dims", ()):
        op.freeze(label[dim], "is rolled")
    return label
