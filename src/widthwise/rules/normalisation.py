"""Normalisations: affine parameters and running statistics are tied to the channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widthwise.rules.labels import Ids, Label, blank
from widthwise.rules.op import Op, sizes
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(
    aten.native_batch_norm,
    aten._native_batch_norm_legit,
    aten._native_batch_norm_legit_functional,
    aten._native_batch_norm_legit_no_training,
    aten.batch_norm,
    aten.cudnn_batch_norm,
    aten._batch_norm_with_update,
    aten._batch_norm_no_update,
    aten._batch_norm_impl_index,
)
def batch_norm(op: Op) -> list[Label]:
    """Every channel is normalised by itself."""
    channels = _tie_vectors(op, op.label(op.args[0])[1], op.args[1:5])
    if channels is not None:
        # Without parameters, the attribute is all there is to keep in line.
        op.resize("num_features", channels)
    label = list(op.label(op.args[0]))
    label[1] = channels
    if _uses_batch_statistics(op):
        # Also how weights are standardised: the statistics are taken over their input channels.
        op.mix(label[0], *label[2:])
    return [tuple(label), *(_vector(channels, out) for out in op.outputs[1:])]


def _uses_batch_statistics(op: Op) -> bool:
    names = [argument.name for argument in op.func._schema.arguments]
    return "training" in names and bool(op.arg(names.index("training"), "training"))


def _tie_vectors(op: Op, channels: Ids | None, vectors: Sequence[object]) -> Ids | None:
    for vector in vectors:
        if isinstance(vector, Tensor) and vector.dim() == 1:
            channels = op.tie(channels, op.label(vector)[0])
    return channels


def _vector(channels: Ids | None, out: Tensor) -> Label:
    if channels is not None and tuple(out.shape) == (len(channels),):
        return (channels,)
    return blank(out.dim())


@register(aten._weight_norm_interface)
def weight_norm(op: Op) -> list[Label]:
    """A direction and a length per channel: ``g * v / |v|``, the norm over all other dims."""
    direction, length = op.args[0], op.args[1]
    dim = int(op.arg(2, "dim", 0)) % direction.dim()
    label = list(op.label(direction))
    label[dim] = op.tie(label[dim], op.label(length)[dim])
    op.mix(*label[:dim], *label[dim + 1 :])
    norms: list[Ids | None] = [None] * length.dim()
    norms[dim] = label[dim]
    return [tuple(label), tuple(norms)]


@register(aten.native_layer_norm, aten._fused_rms_norm)
def layer_norm(op: Op) -> list[Label]:
    """The trailing dims are normalised together; the statistics need every channel."""
    source = op.args[0]
    normalised = len(op.args[1])
    label = list(op.label(source))
    for affine in op.args[2:4]:
        if isinstance(affine, Tensor):
            for dim, ids in enumerate(op.label(affine)):
                place = source.dim() - normalised + dim
                label[place] = op.tie(label[place], ids)
    op.mix(*label[-normalised:])
    op.follow = _layer_norm_sizes
    op.resize(
        "normalized_shape",
        *(
            sizes(tuple(label), source, dim)
            for dim in range(source.dim() - normalised, source.dim())
        ),
    )
    statistics = (*label[:-normalised], *blank(normalised))
    return [tuple(label), *(statistics[: out.dim()] for out in op.outputs[1:])]


@register(aten.native_group_norm)
def group_norm(op: Op) -> list[Label]:
    """A group of channels is normalised together: keep or remove it whole."""
    # With a single group there would be nothing left to remove; its statistics are then taken over
    # the kept channels, as in a layer norm.
    source, groups = op.args[0], int(op.args[6])
    channels = _tie_vectors(op, op.label(source)[1], op.args[1:3])
    label = list(op.label(source))
    label[1] = channels
    kept_groups: Ids | None = None
    if channels is not None:
        op.resize("num_channels", channels)
        if groups == 1:
            op.mix(channels)
            op.follow = _group_norm_sizes
        else:
            op.tie_together(channels.reshape(groups, -1))
            kept_groups = np.ascontiguousarray(channels.reshape(groups, -1)[:, 0])
            op.resize("num_groups", kept_groups)
    statistics = (label[0], kept_groups)
    return [tuple(label), *(statistics for _ in op.outputs[1:])]


def _layer_norm_sizes(args: list[Any]) -> None:
    args[1] = list(args[0].shape[-len(args[1]) :])


def _group_norm_sizes(args: list[Any]) -> None:
    args[4] = int(args[0].shape[1])
