"""Operators on matrices, in two dims of a tensor: these stay whole, and the other dims pass."""

from __future__ import annotations

import torch

from widthwise.rules.labels import Label, blank
from widthwise.rules.op import Op
from widthwise.rules.registry import register

aten = torch.ops.aten


@register(
    aten.tril,
    aten.tril_,
    aten.triu,
    aten.triu_,
    aten.linalg_matrix_exp,
    aten.linalg_inv_ex,
    aten.linalg_cholesky_ex,
    aten.linalg_qr,
    aten.linalg_lu_factor_ex,
    aten.linalg_eig,
    aten._linalg_det,
    aten._linalg_svd,
    aten._linalg_eigh,
)
def over_matrices(op: Op) -> list[Label]:
    """What is computed of the matrices in the last two dims needs all of each."""
    *others, rows, columns = op.label(op.args[0])
    for ids in (rows, columns):
        op.freeze(ids, "is a dimension of a matrix")
    return [(*others, *blank(out.dim() - len(others))) for out in op.outputs]


@register(aten.diagonal)
def diagonal(op: Op) -> Label:
    """Two dims become the last one."""
    label = op.label(op.args[0])
    dims = {int(op.arg(2, "dim1", 0)) % len(label), int(op.arg(3, "dim2", 1)) % len(label)}
    for dim in dims:
        op.freeze(label[dim], "is a dimension of a matrix")
    return (*(ids for dim, ids in enumerate(label) if dim not in dims), None)


@register(aten.rot90)
def rotate(op: Op) -> Label:
    """Two dims change places."""
    label = list(op.label(op.args[0]))
    for dim in op.arg(2, "dims", (0, 1)):
        op.freeze(label[dim], "is rotated")
        label[dim] = None
    return tuple(label)
