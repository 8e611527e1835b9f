"""Shapes without PyTorch's meta kernels are those that PyTorch gives."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from widthwise.graph.recording import meta_kernels
from widthwise.graph.recording.meta_kernels import elementwise

aten = torch.ops.aten


def meta(*sizes: int, channels_last: bool = False) -> Tensor:
    tensor = torch.empty(sizes, device="meta")
    return tensor.to(memory_format=torch.channels_last) if channels_last else tensor


def layout(result: Any) -> list[Any]:
    """Whatever one can see of the tensors an operator returns."""
    return [(leaf.shape, leaf.dtype, leaf.stride(), leaf.device) for leaf in tree_leaves(result)]


def takes(func: Any, *types: str) -> bool:
    """Whether an operator is not in place, and needs arguments of these types and no others."""
    needed = [arg.type for arg in func._schema.arguments if not arg.has_default_value()]
    return list(map(str, needed)) == list(types) and not func._schema.is_mutable


MAP, LAST = meta(2, 6, 4, 4), meta(2, 6, 4, 4, channels_last=True)
HALF = meta(2, 12, 4, 4)[:, :6]
# As one input of a batch: where its strides do not matter, kernels differ in them.
ONE, ONE_LAST = meta(1, 6, 4, 4), meta(1, 6, 4, 4, channels_last=True)
ONE_HALF = meta(1, 12, 4, 4)[:, :6]
SQUEEZED = meta(1, 6, 1, 1)
MOVED = meta(1, 4, 4, 6).permute(0, 3, 1, 2)
HEADS = meta(2, 5, 3, 4, 8).permute(2, 0, 3, 1, 4)[0]
ONE_HEADS = meta(5, 3, 1, 32).view(5, 3, 4, 8).permute(1, 2, 0, 3)[:1]
SHORT = torch.empty_strided((1, 6, 4, 4), (6, 1, 24, 6), device="meta")
ODD = torch.empty_strided((4, 5, 1, 4), (20, 4, 20, 1), device="meta")
POINTS = torch.empty_strided((3, 3, 1, 1), (3, 1, 9, 3), device="meta")
MAPS = (MAP, LAST, HALF, ONE, ONE_LAST, ONE_HALF, SQUEEZED, MOVED, SHORT)
LAYOUTS = (*MAPS, HEADS, ONE_HEADS, ODD, POINTS)
PLACES = torch.empty(3, 2, dtype=torch.int64, device="meta")
MASK = torch.empty(2, 1, 4, 4, dtype=torch.bool, device="meta")
ONE_BY_ONE = ([1, 1], [0, 0], [1, 1], False, [0, 0], 1)
CALLS: list[tuple[Any, tuple[Any, ...]]] = [
    # Joined layouts, broadcasting, mixed types.
    (aten.add.Tensor, (MAP, MAP)),
    (aten.add.Tensor, (LAST, LAST)),
    (aten.add.Tensor, (MAP, LAST)),
    (aten.add.Tensor, (LAST, MAP)),
    (aten.add.Tensor, (HALF, MAP)),
    (aten.add.Tensor, (HALF, HALF)),
    (aten.add.Tensor, (ONE, ONE_HALF)),
    (aten.add.Tensor, (MOVED, ONE)),
    (aten.add.Tensor, (ONE, ONE.expand(3, 6, 4, 4))),
    (aten.add.Tensor, (meta(3).int(), meta(3).int())),
    (aten.add.Tensor, (MAP.half(), LAST.half())),
    (aten.maximum.default, (MAP, HALF)),
    (aten.mul.Tensor, (MAP, meta(2, 6, 1, 1))),
    (aten.mul.Tensor, (LAST, meta(2, 6, 1, 1))),
    (aten.mul.Tensor, (meta(2, 6, 1, 1), MAP)),
    (aten.mul.Tensor, (ONE, SQUEEZED)),
    (aten.mul.Tensor, (MOVED, meta(6, 1, 1))),
    (aten.mul.Tensor, (meta(6, 1, 1), MOVED)),
    (aten.mul.Tensor, (MAP, meta(4))),
    (aten.mul.Tensor, (MAP, meta(4).double())),
    (aten.mul.Tensor, (meta(8, 24)[:, :6], meta(8, 6))),
    (aten.mul.Tensor, (MAP, 2)),
    (aten.mul.Tensor, (meta(0, 3), meta(0, 3))),
    (aten.eq.Tensor, (MAP, HALF)),
    (aten.gt.Tensor, (meta(3).int(), meta(3))),
    (aten.lt.Tensor, (meta(2, 1, 2).half().expand(2, 5, 2), meta(2, 5, 2).half().permute(2, 1, 0))),
    (aten.where.self, (MASK, MAP, LAST)),
    (aten.where.self, (MASK, MAP, meta().double())),
    *((aten.clamp.default, (each, None, 1.0)) for each in LAYOUTS),
    (aten.masked_fill.Scalar, (MAP, MASK, float("-inf"))),
    (aten.masked_fill.Scalar, (LAST, MASK, 0)),
    (aten._prelu_kernel.default, (MAP, meta(1, 6, 1, 1))),
    (aten.add_.Tensor, (meta(2, 6, 4, 4), meta(1, 6, 1, 1))),
    (aten.tanh_.default, (meta(2, 3),)),
    (aten.sigmoid_.default, (meta(2, 3),)),
    (aten.hardtanh_.default, (meta(2, 3), 0.0, 6.0)),
    # Joining and picking.
    (aten.cat.default, ([MAP, HALF, MAP], 1)),
    (aten.cat.default, ([MAP, meta(2, 3, 4, 4)], -3)),
    (aten.cat.default, ([LAST, LAST], 1)),
    (aten.cat.default, ([LAST, MAP], 1)),
    (aten.cat.default, ([ONE, ONE_HALF], 1)),
    (aten.cat.default, ([meta(1, 1, 8), meta(1, 8, 9).transpose(1, 2)], 1)),
    (aten.cat.default, ([SQUEEZED, SQUEEZED], 1)),
    (aten.cat.default, ([MAP, MAP.double()], 1)),
    (aten.cat.default, ([meta(0), MAP], 1)),
    (aten.stack.default, ([MAP, MAP], -1)),
    (aten.stack.default, ([LAST, LAST], 0)),
    (aten.index.Tensor, (MAP, [PLACES])),
    (aten.index.Tensor, (MAP, [PLACES, PLACES])),
    (aten.index.Tensor, (MAP, [None, PLACES])),
    (aten.index.Tensor, (MAP, [PLACES, PLACES[0]])),
    (aten.index.Tensor, (LAST, [PLACES])),
    (aten.roll.default, (MAP, [1, 2], [2, 3])),
    (aten.roll.default, (LAST, [1], [2])),
    (aten.clone.default, (HALF,)),
    # Matrices.
    (aten.mm.default, (meta(3, 5), meta(5, 7))),
    (aten.mm.default, (meta(5, 3).t(), meta(5, 7))),
    (aten.bmm.default, (meta(2, 3, 5), meta(2, 5, 7))),
    (aten.addmm.default, (meta(7), meta(3, 5), meta(5, 7))),
    (aten.addmm.default, (meta(3, 7), meta(3, 5), meta(5, 7))),
    (aten.addmm.default, (meta(1), meta(3, 5), meta(5, 7))),
    # Reductions.
    *((aten.mean.dim, (each, dims, True)) for each in LAYOUTS for dims in ([1], [-1, -2])),
    *((aten.linalg_vector_norm.default, (each, o, [-2], True)) for each in LAYOUTS for o in (1, 2)),
    (aten.mean.dim, (MAP, [2, 3])),
    (aten.sum.dim_IntList, (MAP, [1])),
    (aten.sum.dim_IntList, (MAP.int(), [1])),
    (aten.sum.dim_IntList, (MAP, None)),
    (aten.amax.default, (LAST, [1], True)),
    (aten.amin.default, (HALF, [1])),
    (aten.var_mean.correction, (MAP, [1, 2])),
    (aten._softmax.default, (meta(2, 3, 4), -1, False)),
    (aten._softmax.default, (HEADS, -1, False)),
    (aten._log_softmax.default, (meta(2, 3), -1, False)),
    (aten._safe_softmax.default, (meta(2, 3, 4), 1)),
    # Layers.
    (aten.convolution.default, (MAP, meta(8, 6, 1, 1), meta(8), *ONE_BY_ONE)),
    (aten.convolution.default, (LAST, meta(8, 6, 1, 1), None, *ONE_BY_ONE)),
    (
        aten.convolution.default,
        (MAP, meta(8, 3, 3, 2), None, [2, 1], [1, 0], [1, 2], False, [0, 0], 2),
    ),
    (
        aten.convolution.default,
        (MAP, meta(6, 3, 3, 2), meta(6), [2, 3], [1, 0], [1, 2], True, [1, 0], 2),
    ),
    (
        aten.convolution.default,
        (meta(2, 6, 9), meta(8, 6, 3), None, [2], [1], [1], False, [0], 1),
    ),
    (aten.max_pool2d_with_indices.default, (meta(2, 6, 7, 8), [3, 3], [2, 2], [1, 1])),
    (
        aten.max_pool2d_with_indices.default,
        (meta(2, 6, 8, 9), [2, 2], [2, 2], [0, 0], [2, 1], True),
    ),
    (aten.max_pool2d_with_indices.default, (LAST, [2, 2])),
    (aten.avg_pool2d.default, (meta(2, 6, 7, 8), [3, 3], [2, 2], [1, 1], True, False)),
    (aten.avg_pool2d.default, (LAST, [2, 2])),
    (aten.avg_pool2d.default, (MAP, [1, 1], [2, 2], [0, 0], True)),
    (aten.upsample_nearest2d.default, (MAP, [8, 7])),
    (aten.upsample_nearest2d.default, (LAST, [8, 7])),
    *(
        (aten.upsample_bilinear2d.default, (each, [8, 7], False))
        for each in (MAP, LAST, MOVED, SHORT)
    ),
    *(
        (aten.upsample_bicubic2d.default, (each, [8, 7], True))
        for each in (MAP, SQUEEZED, MAP[:, :1], MAP[:1])
    ),
    *((aten.native_batch_norm.default, (e, *[meta(6)] * 4, False, 0.1, 1e-5)) for e in MAPS),
    (aten.native_batch_norm.default, (MAP, *[meta(6)] * 4, True, 0.1, 1e-5)),
    (aten.native_batch_norm.default, (MAP.half(), *[meta(6)] * 4, False, 0.1, 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 5, 6), [6], meta(6), meta(6), 1e-5)),
    (aten.native_layer_norm.default, (meta(2, 5, 6), [5, 6], None, None, 1e-5)),
    (aten.native_layer_norm.default, (MAP.permute(0, 2, 3, 1), [6], meta(6), None, 1e-5)),
    (aten.native_group_norm.default, (MAP, meta(6), meta(6), 2, 6, 16, 3, 1e-5)),
    (aten.native_group_norm.default, (LAST, meta(6), None, 2, 6, 16, 1, 1e-5)),
]
for operator in elementwise.SHORTCUTS:
    if takes(operator, "Tensor"):
        CALLS += [(operator, (each,)) for each in LAYOUTS if operator is not aten.clamp.default]
    elif takes(operator, "Tensor", "number"):
        CALLS += [(operator, (each, number)) for each in LAYOUTS for number in (1, 2.0)]
        CALLS += [(operator, (PLACES, number)) for number in (1, 2.0, True)]
    elif takes(operator, "Tensor", "Tensor"):
        CALLS += [(operator, pair) for pair in ((MAP, MAP), (MAP, HALF), (ONE, SQUEEZED))]
        CALLS += [(operator, pair) for pair in ((PLACES, PLACES), (PLACES, PLACES.int()))]


@pytest.mark.parametrize(("func", "args"), CALLS, ids=[str(func) for func, _ in CALLS])
def test_shapes_types_and_strides_are_those_of_pytorch(func: Any, args: tuple[Any, ...]) -> None:
    """Every shortcut agrees with PyTorch's own kernel, also where it hands over to it."""
    assert layout(meta_kernels.run(func, args, {})) == layout(func(*args))


@pytest.mark.parametrize(
    ("func", "args", "kwargs"),
    [
        (aten.clone.default, (HALF,), {"memory_format": torch.contiguous_format}),
        (aten.clone.default, (LAST,), {"memory_format": torch.preserve_format}),
        (aten.gelu.default, (MAP,), {"approximate": "tanh"}),
        (aten.div.Tensor_mode, (MAP, 2.0), {"rounding_mode": "floor"}),
        (aten.div.Tensor_mode, (PLACES, 2), {"rounding_mode": "floor"}),
        (
            aten.div.Tensor_mode,
            (torch.empty_strided((3, 5, 1), (5, 1, 15), device="meta"), 2),
            {"rounding_mode": "floor"},
        ),
        (aten.div.Tensor_mode, (PLACES, 2), {"rounding_mode": None}),
        (aten.add.Tensor, (ONE, SQUEEZED), {"alpha": 2}),
        (aten.mean.dim, (MAP, [1]), {"dtype": torch.float64}),
        (aten.var_mean.correction, (MAP, [1]), {"correction": 0, "keepdim": True}),
    ],
)
def test_keywords_are_known_or_left_to_pytorch(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """A keyword has the effect that it has in PyTorch."""
    assert layout(meta_kernels.run(func, args, kwargs)) == layout(func(*args, **kwargs))


@pytest.mark.parametrize("func", meta_kernels._SHORTCUTS, ids=str)
def test_every_shortcut_has_a_case_that_it_takes(func: Any) -> None:
    """No shortcut is there for nothing: at least one of the calls above does not reach PyTorch."""
    if func in (aten.div.Tensor_mode, aten.clone.default):
        pytest.skip("takes keywords only")
    if func._schema.is_mutable:
        needed = [arg for arg in func._schema.arguments if not arg.has_default_value()]
        assert meta_kernels._SHORTCUTS[func](MAP, *[MAP for _ in needed[1:]]) is MAP
        return
    assert any(
        meta_kernels._SHORTCUTS[func](*args) is not None for each, args in CALLS if each is func
    )


@pytest.mark.parametrize(
    ("func", "args"),
    [
        (aten.add.Tensor, (meta(2, 3), meta(2, 4))),
        (aten.add_.Tensor, (meta(1, 3), meta(2, 3))),
        (aten.where.self, (MASK, MAP, meta(5))),
        (aten.masked_fill.Scalar, (MAP, meta(3).bool(), 0)),
        (aten.cat.default, ([meta(2, 3, 4), meta(2, 3, 5)], 1)),
        (aten.cat.default, ([meta(2, 3), meta(2, 3)], 2)),
        (aten.stack.default, ([meta(2, 3), meta(2, 4)], 0)),
        (aten.index.Tensor, (meta(3), [PLACES, PLACES])),
        (aten.roll.default, (MAP, [1, 2], [2])),
        (aten.mm.default, (meta(3, 5), meta(6, 7))),
        (aten.bmm.default, (meta(2, 3, 5), meta(3, 5, 7))),
        (aten.addmm.default, (meta(7), meta(3, 5), meta(6, 7))),
        (aten.addmm.default, (meta(6), meta(3, 5), meta(5, 7))),
        (aten.mean.dim, (MAP, [4])),
        (aten.amax.default, (MAP, [1, 1])),
        (aten.clamp.default, (MAP,)),
        (aten.convolution.default, (MAP, meta(8, 5, 1, 1), None, *ONE_BY_ONE)),
        (aten.convolution.default, (MAP, meta(8, 6, 5, 5), None, *ONE_BY_ONE)),
        (aten.max_pool2d_with_indices.default, (MAP, [5, 5])),
        (aten.avg_pool2d.default, (MAP, [2, 2], [2, 2], [2, 2])),
        (aten.upsample_nearest2d.default, (MAP, [0, 4])),
        (aten.native_batch_norm.default, (MAP, *[meta(5)] * 4, False, 0.1, 1e-5)),
        (aten.native_layer_norm.default, (meta(2, 5), [6], meta(6), meta(6), 1e-5)),
        (aten.native_group_norm.default, (MAP, meta(5), None, 2, 6, 16, 3, 1e-5)),
        (aten.native_group_norm.default, (MAP, None, None, 2, 6, 16, 4, 1e-5)),
    ],
    ids=str,
)
def test_what_does_not_fit_fails_as_in_pytorch(func: Any, args: tuple[Any, ...]) -> None:
    """A call that PyTorch refuses is refused."""
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        func(*args)
    with pytest.raises((RuntimeError, IndexError, ValueError)):
        meta_kernels.run(func, args, {})


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
