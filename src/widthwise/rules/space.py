"""Operators over space: pooling, interpolation, padding. Channels pass."""

from __future__ import annotations

import re

import numpy as np
import torch

from widthwise.rules.labels import Ids, Label, blank
from widthwise.rules.op import Op
from widthwise.rules.registry import register

aten = torch.ops.aten

_SPATIAL = (
    "avg_pool1d avg_pool2d avg_pool3d max_pool1d max_pool2d max_pool3d "
    "max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices "
    "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d "
    "_adaptive_avg_pool2d _adaptive_avg_pool3d "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d "
    "reflection_pad1d reflection_pad2d reflection_pad3d "
    "replication_pad1d replication_pad2d replication_pad3d "
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d "
    "_upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d "
    "upsample_linear1d upsample_bilinear2d upsample_trilinear3d upsample_bicubic2d "
    "_upsample_bilinear2d_aa _upsample_bicubic2d_aa _upsample_lanczos2d_aa grid_sampler_2d "
    "grid_sampler_3d mkldnn_max_pool2d max_unpool2d"
).split()


def _operators() -> list[object]:
    # The list covers every PyTorch we support; not each release has each operator.
    return [getattr(aten, name) for name in _SPATIAL if hasattr(aten, name)]


@register(*_operators())
def over_space(op: Op) -> list[Label]:
    """Everything but space passes."""
    source = op.args[0]
    found = re.search(r"([123])d", op.name)
    space = int(found.group(1)) if found else 2
    label = op.label(source)
    if "grid_sampler" in op.name:
        op.freeze(op.label(op.args[1])[-1], "is coordinates")
    for ids in label[-space:]:
        op.freeze(ids, "is pooled, padded or interpolated over")
    return [(*label[:-space], *blank(space)) for _ in op.outputs]


@register(aten.constant_pad_nd)
def constant_pad(op: Op) -> Label:
    """Padding in space passes; padded channels are constants with a place of their own."""
    label: list[Ids | None] = list(op.label(op.args[0]))
    pads = [int(pad) for pad in op.args[1]]
    for pair in range(len(pads) // 2):
        dim = len(label) - 1 - pair
        ids = label[dim]
        low, high = pads[2 * pair], pads[2 * pair + 1]
        if ids is None or (low == 0 and high == 0):
            continue
        if low < 0 or high < 0:
            op.freeze(ids, "is cropped")
            ids = ids[max(-low, 0) : len(ids) - max(-high, 0)]
        # How much is padded may follow a width elsewhere, or be constant.
        follows = op.choice(2) == 0
        new = [
            op.loose_ids(count) if follows else op.constant_ids(count, "channels of padding")
            for count in (max(low, 0), max(high, 0))
        ]
        label[dim] = np.concatenate([new[0], ids, new[1]])
    return tuple(label)
