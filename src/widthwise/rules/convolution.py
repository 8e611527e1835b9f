"""Convolutions of every kind: ordinary, grouped, depth-wise, transposed, cross-correlation.

In-ids of the input meet in-ids of the weight; the output gets the weight's out-ids. With groups,
all ids of a group are tied: a plan keeps or removes whole groups, and a depth-wise convolution is
the special case of one channel per group. The other reading keeps all groups and narrows each by
the same channels.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from widthwise.rules.labels import Ids, Label, blank
from widthwise.rules.op import Op, sizes
from widthwise.rules.registry import register

aten = torch.ops.aten

COLOURS = 4
"""Most channels of what is an image: red, green, blue and how opaque it is. A layer with no more of
them next to it, such as a shift by the mean colour, works on colours, and none of them may go."""


@register(aten.convolution, aten._convolution, aten.convolution_overrideable)
def convolution(op: Op) -> Label:
    """Meet over the input channels, bring forth the output channels."""
    source, weight, bias = op.args[0], op.args[1], op.args[2]
    transposed, groups = bool(op.args[6]), int(op.args[8])
    for dim in range(2, weight.dim()):
        op.freeze(op.label(weight)[dim], "spatial size of a kernel")
    space = _space(op, source, weight, groups)
    # Channels may be folded into the batch.
    _count(op, source, weight, (op.label(source)[0], *space), transposed)

    channels = op.label(source)[1]
    if groups > 1:
        out = _grouped(op, weight, channels, transposed, groups)
    else:
        out = _ungrouped(op, weight, channels, transposed)
    if channels is None and out is not None and 1 < len(out) <= source.shape[1] <= COLOURS:
        op.freeze(out, "has no more channels than the image that it reads")
    if bias is not None:
        out = op.tie(out, op.label(bias)[0])
    op.produce(out)
    return (op.label(source)[0], out, *space)


def _space(op: Op, source: torch.Tensor, weight: torch.Tensor, groups: int) -> Label:
    """Return the label of the space: a convolution that keeps a size keeps what is along it.

    Efficient channel attention convolves along the channels, so that neighbours count.
    """
    found = list(blank(source.dim() - 2))
    for dim in range(2, source.dim()):
        ids = op.label(source)[dim]
        mixes = weight.shape[dim] > 1
        if source.shape[dim] != op.out.shape[dim] or (mixes and groups > 1):
            op.freeze(ids, "is convolved over")
            continue
        found[dim - 2] = ids
        if mixes:
            op.mix(ids)
    return tuple(found)


def _count(
    op: Op, source: torch.Tensor, weight: torch.Tensor, places: Label, transposed: bool
) -> None:
    shape = (source if transposed else op.out).shape
    pixels = [
        int(size) if ids is None else ids
        for ids, size in zip(places, (shape[0], *shape[2:]), strict=True)
    ]
    label = op.label(weight)
    channels = (sizes(label, weight, 0), sizes(label, weight, 1))
    op.macs(math.prod(weight.shape[2:]), *pixels, *channels)


def _ungrouped(op: Op, weight: torch.Tensor, channels: Ids | None, transposed: bool) -> Ids | None:
    rows, columns = op.label(weight)[:2]
    outs, ins = (columns, rows) if transposed else (rows, columns)
    op.tie(channels, ins)
    if op.is_weight(weight):
        op.consume(ins)
    else:
        op.mix(channels)
    return outs


def _grouped(
    op: Op, weight: torch.Tensor, channels: Ids | None, transposed: bool, groups: int
) -> Ids | None:
    rows, columns = op.label(weight)[:2]
    if not op.is_weight(weight):
        # A kernel for each image of the batch: what it sums over is masked nowhere.
        op.mix(columns)
    if not transposed and channels is not None and rows is not None and columns is not None:
        divisible = len(channels) > groups and len(rows) > groups
        if divisible and op.choice(2) == 1:
            return _narrow_groups(op, rows, columns, channels, groups)
    op.freeze(columns, "channels inside a group")
    if transposed:
        channels = op.tie(channels, rows)
        if channels is None:
            return None
        op.tie_together(channels.reshape(groups, -1))
        op.resize("groups", channels.reshape(groups, -1)[:, 0])
        return np.repeat(channels.reshape(groups, -1)[:, 0], int(weight.shape[1]))
    if channels is None or rows is None:
        op.freeze(rows, "groups that meet a dimension of constant size")
        op.freeze(channels, "groups that meet a dimension of constant size")
        return rows
    op.tie_together(np.hstack([channels.reshape(groups, -1), rows.reshape(groups, -1)]))
    op.resize("groups", rows.reshape(groups, -1)[:, 0])
    return rows


def _narrow_groups(op: Op, rows: Ids, columns: Ids, channels: Ids, groups: int) -> Ids:
    """Keep the number of groups; the channels of all of them at one place are a unit."""
    op.tie(np.tile(columns, groups), channels)
    op.tie_together(rows.reshape(groups, -1).T)
    if op.is_weight(op.args[1]):
        op.consume(columns)
    return rows


@register("torchvision::deform_conv2d")
def deformable(op: Op) -> Label:
    """A convolution that reads where offsets say; these have a channel per place of the kernel."""
    source, weight, offset, mask, bias = op.args[:5]
    if int(op.args[11]) > 1 or int(op.args[12]) > 1:
        op.freeze_all("has groups of deformable channels")
        return blank(op.out.dim())
    for places in (offset, mask):
        op.freeze(op.label(places)[1], "says where a kernel reads")
    _count(op, source, weight, (op.label(source)[0], None, None), transposed=False)
    out = _ungrouped(op, weight, op.label(source)[1], transposed=False)
    if op.label(bias)[0] is not None:
        out = op.tie(out, op.label(bias)[0])
    op.produce(out)
    return (op.label(source)[0], out, None, None)
