"""Operators that move ids and change no value: view, permute, expand, pixel and channel shuffle.

Merging dims repeats each id once per index of the dims it is merged with. Splitting a channel dim
leaves a rectangle of ids, and only one side of it can have a width: the others keep their size, and
ids along them are tied. Which side the code means, its other numbers being constants, is a choice
that the dry run settles.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from widthwise.rules.labels import Ids, Label, blank
from widthwise.rules.op import Op, shape_of
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(aten.view, aten._unsafe_view, aten.reshape, aten._reshape_alias, aten.view_copy)
def view(op: Op) -> Label:
    """Split and merge dims."""
    source = op.args[0]
    before, after = shape_of(source), shape_of(op.out)
    given = op.label(source)
    label: list[Ids | None] = [None] * len(after)
    if math.prod(before) == 0:
        op.freeze_all("has no elements")
        return tuple(label)
    blocks = list(_blocks(before, after))
    options = [_varying(op, given, before, after, block) for block in blocks]
    # One call splits at most one channel dim in practice; a second one shares the reading.
    count = max((len(dims) for dims in options), default=0)
    reading = op.choice(count) if count > 1 else 0
    for (olds, news), dims in zip(blocks, options, strict=True):
        ids = _flat(op, given, before, olds)
        if ids is None:
            continue
        sides = [after[dim] for dim in news]
        if not dims or reading is None:
            if math.prod(sides) > 1:
                op.freeze(ids, "is split into factors of constant size")
            continue
        width = dims[min(reading, len(dims) - 1)]
        rectangle = np.moveaxis(ids.reshape(sides), news.index(width), 0)
        rows = rectangle.reshape(after[width], -1)
        if len(dims) > 1:
            op.tie_together(rows)
        label[width] = np.ascontiguousarray(rows[:, 0])
    return tuple(label)


def _blocks(before: Sequence[int], after: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
    """Yield the smallest runs of old dims and new dims that hold the same elements."""
    i = j = 0
    while i < len(before) or j < len(after):
        olds, news = [], []
        left = right = 1
        if i < len(before):
            olds.append(i)
            left, i = before[i], i + 1
        if j < len(after):
            news.append(j)
            right, j = after[j], j + 1
        while left != right:
            if left < right:
                olds.append(i)
                left, i = left * before[i], i + 1
            else:
                news.append(j)
                right, j = right * after[j], j + 1
        yield olds, news


def _flat(op: Op, label: Label, shape: Sequence[int], dims: Sequence[int]) -> Ids | None:
    """Return the ids of a run of dims, one per element, or None."""
    labelled = [dim for dim in dims if label[dim] is not None]
    if not labelled:
        return None
    # Repeats merged with channels (`repeat_interleave`) are so many copies of each. Of two channel
    # dims, the larger one stays free.
    labelled.sort(key=lambda dim: (not op.is_loose(label[dim]), shape[dim]))
    for dim in labelled[:-1]:
        op.freeze(label[dim], "is merged with another channel dimension")
    ids = label[labelled[-1]]
    assert ids is not None
    if len(dims) == 1:
        return ids
    place = [shape[dim] if dim == labelled[-1] else 1 for dim in dims]
    return np.broadcast_to(ids.reshape(place), [shape[dim] for dim in dims]).reshape(-1)


def _varying(
    op: Op,
    label: Label,
    before: Sequence[int],
    after: Sequence[int],
    block: tuple[list[int], list[int]],
) -> list[int]:
    """Return the new dims along which ids vary, last first."""
    olds, news = block
    ids = _flat(op, label, before, olds)
    if ids is None:
        return []
    if len(news) == 1:
        return list(news)
    box = ids.reshape([after[dim] for dim in news])
    return [
        dim
        for place, dim in reversed(list(enumerate(news)))
        if after[dim] > 1 and bool((box != box.take([0], axis=place)).any())
    ]


@register(aten.permute, aten.permute_copy)
def permute(op: Op) -> Label:
    """Reorder the dims."""
    label = op.label(op.args[0])
    return tuple(label[dim] for dim in op.args[1])


@register(aten.view.dtype)
def view_as_other_numbers(op: Op) -> Label:
    """Read the same bytes as numbers of another type; if of another size, the last dim changes."""
    label = op.label(op.args[0])
    if op.out.shape != op.args[0].shape:
        op.freeze(label[-1], "is read as numbers of another size")
        label = (*label[:-1], None)
    return label


@register(aten.view_as_real)
def view_as_real(op: Op) -> Label:
    """Real and imaginary parts become the last dim."""
    return (*op.label(op.args[0]), None)


@register(aten.view_as_complex)
def view_as_complex(op: Op) -> Label:
    """The last dim becomes real and imaginary parts."""
    *label, parts = op.label(op.args[0])
    op.freeze(parts, "is read as real and imaginary parts")
    return tuple(label)


@register(aten.transpose, aten.transpose_, aten.t, aten.t_, aten.numpy_T, aten.mT)
def transpose(op: Op) -> Label:
    """Swap two dims."""
    label = list(op.label(op.args[0]))
    if len(label) < 2:
        return tuple(label)
    first, second = (op.args[1], op.args[2]) if len(op.args) > 2 else (-1, -2)
    label[first], label[second] = label[second], label[first]
    return tuple(label)


@register(aten.unsqueeze, aten.unsqueeze_)
def unsqueeze(op: Op) -> Label:
    """Insert a dim of size one."""
    label = list(op.label(op.args[0]))
    label.insert(int(op.args[1]) % op.out.dim(), None)
    return tuple(label)


@register(aten.squeeze, aten.squeeze_)
def squeeze(op: Op) -> Label:
    """Remove dims of size one."""
    source = op.args[0]
    dims = op.args[1] if len(op.args) > 1 else range(source.dim())
    dims = {int(dim) % source.dim() for dim in ([dims] if isinstance(dims, int) else dims)}
    label = []
    for dim, ids in enumerate(op.label(source)):
        if dim in dims and source.shape[dim] == 1:
            op.freeze(ids, "is squeezed")
        else:
            label.append(ids)
    return tuple(label)


@register(aten.expand, aten.expand_copy)
def expand(op: Op) -> Label:
    """Repeat dims of size one."""
    # How often may follow a width elsewhere (`norm.expand_as(x)`), so the repeats get ids of their
    # own, to be tied to whatever they meet.
    return _repeated(op, op.args[0], [1] * op.args[0].dim())


@register(aten.repeat)
def repeat(op: Op) -> Label:
    """Repeat the ids; repeats of a single index get ids of their own."""
    source = op.args[0]
    return _repeated(op, source, [int(times) for times in op.args[1]][-source.dim() :])


def _repeated(op: Op, source: torch.Tensor, times: Sequence[int]) -> Label:
    out = op.out
    shift = out.dim() - source.dim()
    label: list[Ids | None] = [None] * out.dim()
    for dim in range(shift):
        if out.shape[dim] > 1:
            label[dim] = op.loose_ids(int(out.shape[dim]))
    for dim, ids in enumerate(op.label(source)):
        size = int(out.shape[dim + shift])
        if source.shape[dim] == 1 and size > 1:
            op.freeze(ids, "is repeated")
            label[dim + shift] = op.loose_ids(size)
        elif ids is not None:
            label[dim + shift] = np.tile(ids, times[dim])
    return tuple(label)


@register(aten.repeat_interleave)
def repeat_interleave(op: Op) -> Label:
    """Repeat each id in place."""
    source = op.args[0]
    if isinstance(op.arg(1, "repeats"), int) and isinstance(op.arg(2, "dim"), int):
        dim = op.arg(2, "dim") % source.dim()
        label = list(op.label(source))
        ids = label[dim]
        label[dim] = None if ids is None else np.repeat(ids, op.args[1])
        return tuple(label)
    op.freeze_all("is repeated by value")
    return blank(op.out.dim())


@register(aten.pixel_shuffle)
def pixel_shuffle(op: Op) -> Label:
    """Every ``r * r`` neighbouring channels become one, so they are one unit."""
    *batch, channels, height, width = op.label(op.args[0])
    ratio = int(op.args[1])
    if channels is not None:
        rows = channels.reshape(-1, ratio * ratio)
        op.tie_together(rows)
        channels = np.ascontiguousarray(rows[:, 0])
    op.freeze(height, "is shuffled into space")
    op.freeze(width, "is shuffled into space")
    return (*batch, channels, None, None)


@register(aten.pixel_unshuffle)
def pixel_unshuffle(op: Op) -> Label:
    """Every channel becomes ``r * r`` neighbours."""
    *batch, channels, height, width = op.label(op.args[0])
    op.freeze(height, "is shuffled into channels")
    op.freeze(width, "is shuffled into channels")
    ratio = int(op.args[1])
    return (*batch, None if channels is None else np.repeat(channels, ratio * ratio), None, None)


@register(aten.channel_shuffle, aten.native_channel_shuffle)
def channel_shuffle(op: Op) -> Label:
    """Groups keep equal counts; their channels are interleaved."""
    batch, channels, *space = op.label(op.args[0])
    if channels is not None:
        columns = channels.reshape(int(op.args[1]), -1).T
        op.tie_together(columns)
        channels = np.ascontiguousarray(columns).reshape(-1)
    return (batch, channels, *space)


@register(aten.im2col)
def unfold(op: Op) -> Label:
    """Every channel becomes one per tap of the kernel."""
    source = op.args[0]
    label = op.label(source)
    channels = label[-3]
    taps = math.prod(op.args[1])
    merged = None if channels is None else np.repeat(channels, taps)
    return (*label[:-3], merged, None)


@register(aten.col2im)
def fold(op: Op) -> Label:
    """The taps of a kernel become one channel again."""
    channels = op.label(op.args[0])[-2]
    if channels is not None:
        rows = channels.reshape(-1, math.prod(op.args[2]))
        op.tie_together(rows)
        channels = np.ascontiguousarray(rows[:, 0])
    return (*op.label(op.args[0])[:-2], channels, None, None)


@register(aten.unfold)
def sliding_windows(op: Op) -> Label:
    """Windows slide along a dim, and get a dim of their own at the end."""
    dim = int(op.args[1]) % op.args[0].dim()
    label = list(op.label(op.args[0]))
    op.freeze(label[dim], "is cut into windows")
    label[dim] = None
    return (*label, None)


@register(aten.as_strided, aten.as_strided_)
def as_strided(op: Op) -> Label:
    """Only a change of memory layout can be followed."""
    source = op.args[0]
    if op.func.overloadpacket is aten.as_strided_ or shape_of(source) == shape_of(op.out):
        return op.label(source) if len(op.label(source)) == op.out.dim() else blank(op.out.dim())
    op.freeze_all("is re-strided")
    return blank(op.out.dim())
