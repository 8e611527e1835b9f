"""Element-wise operators: dims are aligned from the right, ids that meet are tied."""

from __future__ import annotations

import torch

from widthwise.rules.labels import Ids, Label
from widthwise.rules.op import Op, pass_through
from widthwise.rules.registry import register

aten = torch.ops.aten


def pointwise(op: Op) -> Label:
    """Tie the ids that broadcasting brings together."""
    shape = op.out.shape
    label: list[Ids | None] = [None] * len(shape)
    met = [False] * len(shape)
    for tensor in op.tensors:
        shift = len(shape) - tensor.dim()
        for dim, ids in enumerate(op.label(tensor)):
            target = dim + shift
            # A dim of size one is repeated, and meets nobody.
            if tensor.shape[dim] == 1 and shape[target] != 1:
                continue
            label[target] = op.tie(label[target], ids) if met[target] else ids
            met[target] = True
    return tuple(label)


# PyTorch knows which operators are pointwise, but for a few.
register(
    torch.Tag.pointwise,
    aten.hardswish,
    aten.hardswish_,
    aten._to_copy,
    aten.copy_,
    aten._prelu_kernel,
    aten.where,
    aten.lerp,
    aten.mish,
    aten.mish_,
    aten.softplus,
    aten.hardtanh,
    aten.hardtanh_,
    aten.leaky_relu_,
    aten.elu_,
    aten.celu_,
    aten.selu_,
    aten.masked_fill_,
    aten.complex,
    aten.polar,
    aten.rrelu_with_noise,
)(pointwise)

register(
    aten.alias,
    aten.detach,
    aten.lift_fresh,
    aten.lift_fresh_copy,
    aten.zeros_like,
    aten.ones_like,
    aten.empty_like,
    aten.full_like,
    aten.rand_like,
    aten.randn_like,
    aten.fill_,
    aten.zero_,
    aten.bernoulli,
    aten.bernoulli_,
    aten.normal_,
    aten.uniform_,
    aten.resize_,
    aten.exponential_,
    aten.cauchy_,
    aten.log_normal_,
    aten.geometric_,
    aten.random_,
)(pass_through)


@register(aten.native_dropout)
def dropout(op: Op) -> list[Label]:
    """Output and mask carry the ids of the input."""
    label = pass_through(op)
    return [label, label]


@register(
    aten.zeros,
    aten.ones,
    aten.full,
    aten.empty,
    aten.new_zeros,
    aten.new_ones,
    aten.new_full,
    aten.new_empty,
    aten.rand,
    aten.randn,
    aten.randint,
)
def constant(op: Op) -> Label:
    """One value everywhere, or any: like repeats, its dims live and die with whatever they meet."""
    return tuple(op.loose_ids(int(size)) if size > 1 else None for size in op.out.shape)


@register(
    aten.arange,
    aten.linspace,
    aten.scalar_tensor,
    aten.randperm,
    aten.eye,
    aten.empty_strided,
    aten.new_empty_strided,
    aten.hann_window,
    aten.tril_indices,
    aten.triu_indices,
)
def created(op: Op) -> None:
    """A tensor whose values differ from index to index carries no ids."""


@register(aten.glu)
def glu(op: Op) -> Label:
    """First and second half meet element by element."""
    source = op.args[0]
    dim = op.arg(1, "dim", -1) % source.dim()
    label = list(op.label(source))
    ids = label[dim]
    if ids is not None:
        half = len(ids) // 2
        label[dim] = op.tie(ids[:half], ids[half:])
    return tuple(label)
