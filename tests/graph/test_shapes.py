"""Shapes without PyTorch's meta kernels are those that PyTorch gives."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from widthwise.graph import shapes

aten = torch.ops.aten


def meta(*sizes: int, channels_last: bool = False) -> Tensor:
    tensor = torch.empty(sizes, device="meta")
    return tensor.to(memory_format=torch.channels_last) if channels_last else tensor


MAP, LAST = meta(2, 6, 4, 4), meta(2, 6, 4, 4, channels_last=True)
HALF = meta(2, 12, 4, 4)[:, :6]
CALLS: list[tuple[Any, tuple[Any, ...]]] = [
    (aten.add.Tensor, (MAP, MAP)),
    (aten.add.Tensor, (LAST, LAST)),
    (aten.add.Tensor, (MAP, LAST)),
    (aten.add.Tensor, (HALF, MAP)),
    (aten.add.Tensor, (HALF, HALF)),
    (aten.mul.Tensor, (MAP, meta(2, 6, 1, 1))),
    (aten.mul.Tensor, (LAST, meta(2, 6, 1, 1))),
    (aten.mul.Tensor, (meta(2, 6, 1, 1), MAP)),
    (aten.mul.Tensor, (MAP, meta(4))),
    (aten.mul.Tensor, (MAP, meta(4).double())),
    (aten.add.Tensor, (meta(3).int(), meta(3).int())),
    (aten.mul.Scalar, (MAP, 0.5)),
    (aten.mul.Tensor, (MAP, 2)),
    (aten.sigmoid.default, (HALF,)),
    (aten.sigmoid_.default, (meta(2, 3),)),
    (aten.add_.Tensor, (meta(2, 6, 4, 4), meta(1, 6, 1, 1))),
    (aten.hardtanh_.default, (meta(2, 3), 0.0, 6.0)),
    (aten.cat.default, ([MAP, HALF, MAP], 1)),
    (aten.cat.default, ([MAP, meta(2, 3, 4, 4)], -3)),
    (aten.cat.default, ([LAST, LAST], 1)),
    (aten.mean.dim, (MAP, [2, 3])),
    (aten.mean.dim, (MAP, [-1, -2], True)),
    (aten.mean.dim, (LAST, [2, 3], True)),
    (aten.native_batch_norm.default, (MAP, *[meta(6)] * 4, False, 0.1, 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 5, 6), [6], meta(6), meta(6), 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 5, 6), [5, 6], None, None, 1e-5)),
    (aten.addmm.default, (meta(7), meta(3, 5), meta(5, 7))),
    (aten.addmm.default, (meta(3, 7), meta(3, 5), meta(5, 7))),
    (aten._softmax.default, (meta(2, 3, 4), -1, False)),
    (aten._safe_softmax.default, (meta(2, 3, 4), 1)),
    (aten.roll.default, (MAP, [1, 2], [2, 3])),
]


@pytest.mark.parametrize(("func", "args"), CALLS, ids=[str(func) for func, _ in CALLS])
def test_shapes_types_and_strides_are_those_of_pytorch(func: Any, args: tuple[Any, ...]) -> None:
    """Every shortcut agrees with PyTorch's own kernel, also where it hands over to it."""
    expected = tree_leaves(func(*args))
    found = tree_leaves(shapes.run(func, args, {}))
    assert [(t.shape, t.dtype, t.stride()) for t in found] == [
        (t.shape, t.dtype, t.stride()) for t in expected
    ]


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.add.Tensor, (meta(2, 3), meta(2, 4))),
        (aten.cat.default, ([meta(2, 3, 4), meta(2, 3, 5)], 1)),
        (aten.addmm.default, (meta(7), meta(3, 5), meta(6, 7))),
        (aten.native_layer_norm.default, (meta(2, 5), [6], meta(6), meta(6), 1e-5)),
    ],
)
def test_what_does_not_fit_fails_as_in_pytorch(func: Any, args: tuple[Any, ...]) -> None:
    """A call that PyTorch refuses is refused."""
    with pytest.raises(RuntimeError):
        shapes.run(func, args, {})


def test_a_first_trace_does_not_import_the_compiler() -> None:
    """A plain convolutional network is traced without `torch._dynamo`, which takes seconds."""
    code = (
        "import sys, torch, widthwise as ww\n"
        "from torch import nn\n"
        "net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.SiLU(inplace=True),"
        " nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))\n"
        "ww.trace(net, torch.zeros(1, 3, 8, 8))\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
