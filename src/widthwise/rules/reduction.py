"""Operators along dims: sums, means, extremes, norms, softmax, sorting."""

from __future__ import annotations

import torch
from torch import Tensor

from widthwise.rules.labels import Label, blank
from widthwise.rules.op import Op, keep_dims
from widthwise.rules.registry import register

aten = torch.ops.aten

_PLACES = (aten.argmax, aten.argmin)
"""What gives the places of elements; ``max`` along a dim and its like give them second."""


@register(
    aten.sum,
    aten.mean,
    aten.amax,
    aten.amin,
    aten.var,
    aten.std,
    aten.var_mean,
    aten.std_mean,
    aten.logsumexp,
    aten.prod,
    aten.any,
    aten.all,
    aten.linalg_vector_norm,
    aten.norm,
    aten.max,
    aten.min,
    aten.argmax,
    aten.argmin,
    aten.median,
    aten.nanmedian,
    aten.kthvalue,
    aten.mode,
    aten.nansum,
    aten.count_nonzero,
)
def reduce(op: Op) -> list[Label]:
    """Drop the reduced dims. A reduction over channels depends on which of them exist."""
    source = op.args[0]
    given = op.label(source)
    dims = _reduced(op, source.dim())
    op.mix(*(given[dim] for dim in dims))
    # Where an extreme is means something else once channels are gone.
    for out in op.outputs:
        if _says_where(op, out):
            for dim in dims:
                op.number(out, given[dim])
    kept = tuple(None if dim in dims else ids for dim, ids in enumerate(given))
    dropped = tuple(ids for dim, ids in enumerate(given) if dim not in dims)
    return [
        kept if out.dim() == len(kept) else dropped if out.dim() == len(dropped) else ()
        for out in op.outputs
    ]


def _says_where(op: Op, out: Tensor) -> bool:
    """Tell whether an output of an extreme is its place, not its value."""
    second = len(op.outputs) == 2 and out is op.outputs[1] and not out.is_floating_point()
    return second or op.func.overloadpacket in _PLACES


def _reduced(op: Op, dims: int) -> set[int]:
    schema = {argument.name: argument.default_value for argument in op.func._schema.arguments}
    if "dim" not in schema:
        return set(range(dims))
    found = op.arg(list(schema).index("dim"), "dim", schema["dim"])
    if found is None or found == []:
        return set(range(dims))
    return {int(dim) % max(dims, 1) for dim in ([found] if isinstance(found, int) else found)}


@register(aten._softmax, aten._log_softmax, aten.softmax, aten._safe_softmax, aten.log_softmax)
def softmax(op: Op) -> Label:
    """Shares over channels depend on which of them exist."""
    label = op.label(op.args[0])
    op.mix(label[int(op.args[1])])
    return label


@register(
    aten.cumsum,
    aten.cumprod,
    aten.sort,
    aten.argsort,
    aten.topk,
    aten._fft_r2c,
    aten._fft_c2r,
    aten._fft_c2c,
    aten.logcumsumexp,
    aten.cummax,
    aten.cummin,
)
def ordered(op: Op) -> list[Label]:
    """What runs along a dim needs it whole; the other dims pass."""
    schema = [argument.name for argument in op.func._schema.arguments]
    given = op.label(op.args[0])
    found = op.arg(schema.index("dim"), "dim", -1)
    dims = {int(dim) % max(len(given), 1) for dim in ([found] if isinstance(found, int) else found)}
    for dim in dims:
        op.freeze(given[dim], "needs every index along the dimension")
    passed = tuple(None if dim in dims else ids for dim, ids in enumerate(given))
    return [keep_dims(passed, out) if passed else blank(out.dim()) for out in op.outputs]
