"""Detection: regions of interest keep channels; choosing boxes by value keeps every channel."""

from __future__ import annotations

import torch

from widthwise.rules.labels import Label, blank
from widthwise.rules.op import Op
from widthwise.rules.registry import register

aten = torch.ops.aten


@register("torchvision::roi_align", "torchvision::roi_pool")
def region(op: Op) -> list[Label]:
    """Crop regions: channels pass, one map per region. Pooling returns where its maxima were."""
    _, channels, *space = op.label(op.args[0])
    return [(None, channels, *space)] * len(op.outputs)


@register("torchvision::nms", aten.nonzero, aten.masked_select, aten._unique2)
def by_value(op: Op) -> list[Label]:
    """Choose by value: code behind it counts on every channel it looked at."""
    op.freeze_all("is read by value")
    return [blank(out.dim()) for out in op.outputs]
