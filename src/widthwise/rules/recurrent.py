"""Recurrent layers that a device runs in one piece. Elsewhere PyTorch takes them apart itself."""

from __future__ import annotations

import torch

from widthwise.rules.labels import Label, blank
from widthwise.rules.op import Op
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(aten.mkldnn_rnn_layer)
def fused_layer(op: Op) -> list[Label]:
    """One direction of one layer: outputs and states carry the ids of the hidden state."""
    hidden = op.label(op.args[2])[1]
    return [(*blank(out.dim() - 1), hidden) if out.dim() > 1 else blank(1) for out in op.outputs]
