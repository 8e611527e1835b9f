"""Operators that write into a part of a tensor: along one dim by place; the other dims pass."""

from __future__ import annotations

import torch
from torch import Tensor

from widthwise.rules.labels import Ids, Label
from widthwise.rules.op import Op
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(
    aten.scatter,
    aten.scatter_,
    aten.scatter_add,
    aten.scatter_add_,
    aten.scatter_reduce,
    aten.scatter_reduce_,
)
def scatter(op: Op) -> Label:
    """Index and source, side by side, say what goes where along one dim."""
    return _written(op, int(op.args[1]), [each for each in op.args[2:4] if _is_tensor(each)])


@register(aten.index_add, aten.index_add_, aten.index_copy, aten.index_copy_, aten.index_reduce)
def index_write(op: Op) -> Label:
    """A row of the source for every entry of the index."""
    return _written(op, int(op.args[1]), [op.args[3]])


@register(aten.index_fill, aten.index_fill_)
def index_fill(op: Op) -> Label:
    """One value for every entry of the index."""
    return _written(op, int(op.args[1]), [])


@register(aten.slice_scatter)
def slice_scatter(op: Op) -> Label:
    """The source takes the place of a slice."""
    return _written(op, int(op.arg(2, "dim", 0)), [op.args[1]])


@register(aten.select_scatter)
def select_scatter(op: Op) -> Label:
    """The source, which has a dim less, takes the place of one index."""
    target, source = op.args[:2]
    dim = int(op.args[2]) % target.dim()
    label = list(op.label(source))
    return _along(op, dim, [(*label[:dim], None, *label[dim:])])


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() > 0


def _written(op: Op, along: int, sources: list[Tensor]) -> Label:
    """Tie what is written with what it is written into, but for the dim along which it goes."""
    target = op.args[0]
    along %= max(target.dim(), 1)
    labels: list[Label] = []
    for source in sources:
        label: list[Ids | None] = list(op.label(source))
        for dim, ids in enumerate(label):
            if dim == along or source.shape[dim] != target.shape[dim]:
                op.freeze(ids, "is written by place")
                op.freeze(op.label(target)[dim], "is written by place")
                label[dim] = None
        labels.append(tuple(label))
    return _along(op, along, labels)


def _along(op: Op, along: int, labels: list[Label]) -> Label:
    label = list(op.label(op.args[0]))
    for dim, ids in enumerate(label):
        if dim == along:
            op.freeze(ids, "is written by place")
            continue
        for other in labels:
            if label[dim] is not None or other[dim] is not None:
                label[dim] = op.tie(label[dim], other[dim])
    return tuple(label)
