"""Matrix products: contracted ids tie, free ids pass.

All of them count as MACs. A product of an activation with a weight is a linear layer; the result of
a product of two activations (queries with keys) depends on which channels exist.
"""

from __future__ import annotations

import torch
from torch import Tensor

from widthwise.rules.labels import Label
from widthwise.rules.op import Op, sizes
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(aten.mm, aten.bmm, aten.matmul)
def product(op: Op) -> Label:
    """Matrix product, batched or not."""
    return _product(op, op.args[0], op.args[1])


@register(aten.addmm, aten.baddbmm)
def product_with_bias(op: Op) -> Label:
    """Matrix product plus a bias that broadcasts."""
    label = list(_product(op, op.args[1], op.args[2]))
    bias = op.args[0]
    shift = len(label) - bias.dim()
    for dim, ids in enumerate(op.label(bias)):
        if not (bias.shape[dim] == 1 and op.out.shape[dim + shift] != 1):
            label[dim + shift] = op.tie(label[dim + shift], ids)
    return tuple(label)


@register(aten.mv)
def matrix_vector(op: Op) -> Label:
    """Matrix times vector."""
    return _product(op, op.args[0], op.args[1])


@register(aten.linear)
def linear(op: Op) -> Label:
    """A linear layer that reached us whole: weight is ``[out, in]``."""
    source, weight = op.args[0], op.args[1]
    bias = op.arg(2, "bias")
    outs, ins = op.label(weight)
    *free, channels = op.label(source)
    op.tie(channels, ins)
    op.consume(ins)
    op.macs(
        1,
        *(sizes(op.label(source), source, dim) for dim in range(source.dim() - 1)),
        sizes(op.label(weight), weight, 0),
        sizes(op.label(weight), weight, 1),
    )
    if bias is not None:
        outs = op.tie(outs, op.label(bias)[0])
    op.produce(outs)
    return (*free, outs)


@register(aten._grouped_mm)
def experts(op: Op) -> Label:
    """Rows are multiplied with the matrix of their group: ``[rows, in] x [experts, in, out]``."""
    first, second = op.args[:2]
    left, right = op.label(first), op.label(second)
    if (len(left), len(right)) != (2, 3):
        for ids in (*left, *right):
            op.freeze(ids, "is multiplied in groups of an uncommon shape")
        return (None,) * op.out.dim()
    op.freeze(left[0], "rows are grouped by value")
    op.freeze(right[0], "experts are chosen by value")
    _contract(op, first, second, 1, 1)
    if op.is_weight(second):
        op.produce(right[2])
    op.macs(1, sizes(left, first, 0), sizes(left, first, 1), sizes(right, second, 2))
    return (left[0], right[2])


@register(aten._cdist_forward, aten._euclidean_dist)
def distances(op: Op) -> Label:
    """Distances from all rows of one matrix to all of another: columns are summed over."""
    first, second = op.label(op.args[0]), op.label(op.args[1])
    op.mix(op.tie(first[-1], second[-1]))
    batch = [op.tie(a, b) for a, b in zip(first[:-2], second[:-2], strict=False)]
    return (*batch, first[-2], second[-2])


@register(aten.dot, aten.vdot)
def dot(op: Op) -> Label:
    """Everything is contracted."""
    _contract(op, op.args[0], op.args[1], 0, 0)
    return ()


def _contract(op: Op, first: Tensor, second: Tensor, dim: int, other: int) -> None:
    joint = op.tie(op.label(first)[dim], op.label(second)[other])
    if op.is_weight(first):
        op.consume(op.label(first)[dim])
    if op.is_weight(second):
        op.consume(op.label(second)[other])
    if not (op.is_weight(first) or op.is_weight(second)):
        op.mix(joint)


def _product(op: Op, first: Tensor, second: Tensor) -> Label:
    left, right = op.label(first), op.label(second)
    inner = second.dim() - 2 if second.dim() > 1 else 0
    _contract(op, first, second, first.dim() - 1, inner)
    batch = tuple(op.tie(a, b) for a, b in zip(left[:-2], right[:-2], strict=False))
    columns = (right[-1],) if second.dim() > 1 else ()
    if op.is_weight(first) or op.is_weight(second):
        op.produce(columns[0] if op.is_weight(second) and columns else left[-2])
    op.macs(
        1,
        *(sizes(left, first, dim) for dim in range(first.dim())),
        *(sizes(right, second, dim) for dim in range(inner + 1, second.dim())),
    )
    return (*batch, left[-2], *columns)


@register(
    aten._scaled_dot_product_flash_attention,
    aten._scaled_dot_product_flash_attention_for_cpu,
    aten._scaled_dot_product_efficient_attention,
    aten._scaled_dot_product_cudnn_attention,
    aten._scaled_dot_product_fused_attention_overrideable,
    aten._scaled_dot_product_attention_math,
    aten.scaled_dot_product_attention,
)
def attention(op: Op) -> list[Label]:
    """Queries and keys contract, values pass: ``[batch, heads, tokens, channels]``."""
    query, key, value = (op.label(tensor) for tensor in op.args[:3])
    for dim in range(len(query) - 2):
        op.tie(op.tie(query[dim], key[dim]), value[dim])
    op.tie(key[-2], value[-2])
    op.tie(query[-1], key[-1])
    op.mix(query[-1], key[-2])
    for summed_over, tensor in ((query, op.args[0]), (value, op.args[2])):
        op.macs(
            1,
            *(sizes(query, op.args[0], dim) for dim in range(len(query) - 1)),
            sizes(key, op.args[1], len(key) - 2),
            sizes(summed_over, tensor, len(summed_over) - 1),
        )
    labels: list[Label] = [(*query[:-1], value[-1])]
    labels += [(None,) * tensor.dim() for tensor in op.outputs[1:]]
    return labels


@register(aten.embedding)
def embedding(op: Op) -> Label:
    """Rows are looked up by value, columns are channels."""
    rows, columns = op.label(op.args[0])
    op.freeze(rows, "rows are looked up by value")
    op.produce(columns)
    return (*(None for _ in op.args[1].shape), columns)
