"""What a network computes when some of its channels are not there; shares no code with the library.

A removed channel is NaN, in the weights that make it and in every value that it has. Operations
treat NaN as nothing: products and sums leave it out, statistics count what is left, everything else
hands it on. Where a channel that is gone meets a weight that was kept, the cut was wrong, and the
run stops there. What reaches the end must be what the narrow network computes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

aten = torch.ops.aten
NAN = float("nan")
Handler = Callable[..., Any]
HANDLERS: dict[Any, Handler] = {}


class WrongCut(AssertionError):
    """A channel that was removed meets a weight or a value that was kept."""


class UnknownToOracle(Exception):
    """The oracle has no meaning for an operation on channels that are not there."""


def _means(*packets: Any) -> Callable[[Handler], Handler]:
    def register(handler: Handler) -> Handler:
        HANDLERS.update(dict.fromkeys(packets, handler))
        return handler

    return register


class Absence(TorchDispatchMode):
    """Runs every operation as `HANDLERS` says, and hands NaN on in all others."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        gone = any(t.is_floating_point() and bool(t.isnan().any()) for t in given)
        if gone and func.overloadpacket in HANDLERS:
            return HANDLERS[func.overloadpacket](func, *args, **kwargs)
        lost = [t.isnan() for t in given if gone and t.is_floating_point()]
        out = func(*args, **kwargs)
        # Comparisons and clamps forget NaN; where shapes allow it, it stays.
        if gone and isinstance(out, Tensor) and out.is_floating_point() and _computes(func):
            for nan in lost:
                if _fits(nan, out):
                    out.masked_fill_(nan, NAN)
        return out


def _attention(q: Tensor, *args: Any, scale: float | None = None, **kw: Any) -> Tensor:
    """Divide by the root of the head size that is left."""
    if scale is None:
        scale = max(1, int((~q.isnan().flatten(0, -2).all(0)).sum())) ** -0.5
    return _fused_attention(q, *args, scale=scale, **kw)


def _distances(a: Tensor, b: Tensor) -> Tensor:
    """Leave out what is gone from sums of squares."""
    return torch.linalg.vector_norm(a.unsqueeze(-2) - b.unsqueeze(-3), dim=-1)


_fused_attention = F.scaled_dot_product_attention


@contextmanager
def absence() -> Iterator[None]:
    """Run what is inside with NaN as nothing, without gradients and without fused attention."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.no_grad())
            stack.enter_context(torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH))
            stack.enter_context(patch.object(F, "scaled_dot_product_attention", _attention))
            stack.enter_context(patch.object(torch, "cdist", _distances))
            stack.enter_context(Absence())
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def _computes(func: Any) -> bool:
    """Tell views, and what makes a tensor of another's shape, from what computes with values."""
    name = func.overloadpacket.__name__
    returns = [r.alias_info for r in func._schema.returns]
    is_view = any(alias is not None and not alias.is_write for alias in returns)
    return not (is_view or name.startswith("new_") or name.endswith("_like"))


def _fits(nan: Tensor, out: Tensor) -> bool:
    try:
        return torch.broadcast_shapes(nan.shape, out.shape) == out.shape
    except RuntimeError:
        return False


def _there(x: Tensor) -> Tensor:
    return x.nan_to_num(0.0)


def _agree(a: Tensor, b: Tensor, what: str, nothing: Tensor | None = None) -> None:
    """Check that the same is gone on both sides, or that `b` is nothing where only `a` is gone."""
    differ = a != b
    if nothing is not None:
        differ &= ~(a & nothing)
    if bool(differ.any()):
        raise WrongCut(f"{what}: gone on one side only at {differ.nonzero().tolist()[:9]}")


# ------------------------------------------------------------------ products


@_means(aten.convolution)
def _convolution(func: Any, x: Tensor, w: Tensor, b: Tensor | None, *more: Any) -> Tensor:
    transposed, groups = more[3], more[5]
    gone_in = x.isnan().transpose(0, 1).flatten(1)
    places = x.isnan().flatten(0, 1).all(0)
    if bool(places.any()) and not bool(places.all()):
        return _slid_over_channels(func, x, w, b, *more)
    x_gone = gone_in.any(1)
    w_gone = w.isnan().flatten(2).all(2)
    if transposed:
        # [in, out / groups] -> rows are outputs, columns inputs of their group.
        w_gone = w_gone.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)
    rows = w_gone.all(1)
    x_nothing = (x == 0).transpose(0, 1).flatten(1).all(1)
    inputs, nothing = (
        flags.unflatten(0, (groups, -1)).repeat_interleave(len(rows) // groups, 0)[~rows]
        for flags in (x_gone, x_nothing)
    )
    _agree(w_gone[~rows], inputs, "inputs of a convolution", nothing)
    if b is not None:
        _agree(b.isnan(), rows, "bias of a convolution")
        b = _there(b)
    out: Tensor = func(_there(x), _there(w), b, *more)
    out[:, rows] = NAN
    return out


def _slid_over_channels(func: Any, x: Tensor, w: Tensor, b: Tensor | None, *more: Any) -> Tensor:
    """A kernel that slides over channels meets those that are left as neighbours."""
    there = ~x.isnan().flatten(0, 1).all(0)
    if x.dim() != 3 or set(more[0]) != {1}:
        raise UnknownToOracle("a convolution that slides over channels in two dims or with strides")
    out = func(x[..., there], w, b, *more)
    if out.shape[-1] != int(there.sum()):
        raise UnknownToOracle("a convolution over channels that changes their number")
    full = out.new_full((*out.shape[:-1], x.shape[-1]), NAN)
    full[..., there] = out
    return full


def _product(func: Any, a: Tensor, b: Tensor) -> Tensor:
    """Multiply matrices ``[..., m, k]`` and ``[..., k, n]``."""
    rows = a.isnan().all(-1)
    columns = b.isnan().all(-2)
    # Positions that a whole channel is made of may be absent in some rows only, at borders.
    inner_a = (a.isnan() & ~rows.unsqueeze(-1)).any(-2)
    inner_b = (b.isnan() & ~columns.unsqueeze(-2)).any(-1)
    counts = ~rows.all(-1) & ~columns.all(-1)
    inner_a, inner_b = inner_a[counts], inner_b[counts]
    _agree(inner_b, inner_a, "what a product sums over", (a == 0).all(-2)[counts])
    out: Tensor = func(_there(a), _there(b))
    return out.masked_fill_(rows.unsqueeze(-1) | columns.unsqueeze(-2), NAN)


@_means(aten.mm, aten.bmm)
def _mm(func: Any, a: Tensor, b: Tensor) -> Tensor:
    return _product(func, a, b)


@_means(aten.addmm, aten.baddbmm)
def _addmm(func: Any, c: Tensor, a: Tensor, b: Tensor, *, beta: float = 1, alpha: float = 1) -> Any:
    product = _product(torch.bmm if a.dim() == 3 else torch.mm, a, b)
    out = product * alpha + (c * beta if beta else 0.0)
    if bool((out.isnan() & ~product.isnan()).any()):
        raise WrongCut("a linear layer's bias is gone where its output is not")
    return out


@_means(aten.mv)
def _mv(func: Any, a: Tensor, b: Tensor) -> Tensor:
    return _product(torch.mm, a, b.unsqueeze(-1)).squeeze(-1)


@_means(aten.dot, aten.vdot)
def _dot(func: Any, a: Tensor, b: Tensor) -> Tensor:
    _agree(a.isnan(), b.isnan(), "two vectors of a dot product")
    return torch.dot(_there(a), _there(b))


# ------------------------------------------------------------------ sums and statistics


def _dims(x: Tensor, dim: Any) -> list[int]:
    if dim is None or dim == []:
        return list(range(x.dim()))
    return [d % x.dim() for d in (dim if isinstance(dim, (list, tuple)) else [dim])]


def _gone(x: Tensor, dims: list[int], keepdim: bool) -> Tensor:
    return x.isnan().all(dims, keepdim) if dims else x.isnan()


@_means(aten.sum)
def _sum(func: Any, x: Tensor, dim: Any = None, keepdim: bool = False, **kw: Any) -> Tensor:
    dims = _dims(x, dim)
    return _there(x).sum(dims, keepdim).masked_fill(_gone(x, dims, keepdim), NAN)


@_means(aten.mean)
def _mean(func: Any, x: Tensor, dim: Any = None, keepdim: bool = False, **kw: Any) -> Tensor:
    dims = _dims(x, dim)
    count = (~x.isnan()).sum(dims, keepdim)
    return _there(x).sum(dims, keepdim) / torch.where(count > 0, count.to(x.dtype), NAN)


def _moments(x: Tensor, dims: list[int], correction: float) -> tuple[Tensor, Tensor]:
    mean = _mean(None, x, dims, True)
    count = (~x.isnan()).sum(dims, True)
    squares = _sum(None, (x - mean) ** 2, dims, True)
    return mean, squares / (count - correction)


@_means(aten.var, aten.std, aten.var_mean, aten.std_mean)
def _var(
    func: Any, x: Tensor, dim: Any = None, *, correction: float | None = None, keepdim: bool = False
) -> Any:
    dims = _dims(x, dim)
    mean, var = _moments(x, dims, 1 if correction is None else correction)
    name = func.overloadpacket.__name__
    spread = var.sqrt() if name.startswith("std") else var
    if not keepdim:
        mean, spread = mean.squeeze(dims), spread.squeeze(dims)
    return (spread, mean) if name.endswith("_mean") else spread


@_means(aten.linalg_vector_norm)
def _norm(
    func: Any, x: Tensor, order: float = 2, dim: Any = None, keepdim: bool = False, **kw: Any
) -> Tensor:
    dims = _dims(x, dim)
    out = torch.linalg.vector_norm(_there(x), order, dims, keepdim)
    return out.masked_fill(_gone(x, dims, keepdim), NAN)


@_means(aten.amax, aten.amin)
def _extreme(func: Any, x: Tensor, dim: Any = (), keepdim: bool = False) -> Tensor:
    dims = _dims(x, list(dim) if isinstance(dim, (tuple, list)) else dim)
    least = func.overloadpacket is aten.amin
    filled = x.nan_to_num(math.inf if least else -math.inf)
    out = filled.amin(dims, keepdim) if least else filled.amax(dims, keepdim)
    return out.masked_fill(_gone(x, dims, keepdim), NAN)


@_means(aten.max, aten.min)
def _extreme_with_index(func: Any, x: Tensor, *args: Any, **kw: Any) -> Any:
    least = func.overloadpacket is aten.min
    if not args or isinstance(args[0], Tensor):
        return (
            func(x, *args, **kw)
            if args
            else _extreme(aten.amin.default if least else aten.amax.default, x)
        )
    keepdim = args[1] if len(args) > 1 else kw.get("keepdim", False)
    filled = x.nan_to_num(math.inf if least else -math.inf)
    out = filled.min(args[0], keepdim) if least else filled.max(args[0], keepdim)
    return out[0].masked_fill(_gone(x, _dims(x, args[0]), keepdim), NAN), out[1]


@_means(aten._softmax, aten._log_softmax)
def _softmax(func: Any, x: Tensor, dim: int, *args: Any) -> Tensor:
    return func(x.nan_to_num(-math.inf), dim, *args).masked_fill(x.isnan(), NAN)


@_means(aten.native_layer_norm)
def _layer_norm(
    func: Any, x: Tensor, shape: Any, w: Tensor | None, b: Tensor | None, eps: float
) -> Any:
    mean, var = _moments(x, list(range(x.dim() - len(shape), x.dim())), 0)
    out = (x - mean) / (var + eps).sqrt()
    for entry, gain in ((w, True), (b, False)):
        if entry is not None:
            everywhere = out.isnan().flatten(0, x.dim() - len(shape) - 1).all(0)
            _agree(entry.isnan().flatten(), everywhere.flatten(), "gain or bias of a layer norm")
            out = out * entry if gain else out + entry
    return out, mean, (var + eps).rsqrt()


@_means(aten.native_group_norm)
def _group_norm(
    func: Any,
    x: Tensor,
    w: Tensor | None,
    b: Tensor | None,
    n: int,
    c: int,
    space: int,
    groups: int,
    eps: float,
) -> Any:
    parts = x.reshape(n, groups, -1)
    mean, var = _moments(parts, [2], 0)
    out = ((parts - mean) / (var + eps).sqrt()).reshape(x.shape)
    shape = (1, c, *([1] * (x.dim() - 2)))
    out = out if w is None else out * w.reshape(shape)
    out = out if b is None else out + b.reshape(shape)
    return out, mean.squeeze(2), (var + eps).rsqrt().squeeze(2)


@_means(aten._weight_norm_interface)
def _weight_norm(func: Any, v: Tensor, g: Tensor, dim: int = 0) -> Any:
    norms = _norm(None, v, 2, [d for d in range(v.dim()) if d != dim], True)
    return v * (g / norms), norms


# ------------------------------------------------------------------ space


@_means(aten.constant_pad_nd)
def _pad(func: Any, x: Tensor, pad: list[int], value: float = 0) -> Tensor:
    out: Tensor = func(x, pad, value)
    padded = [x.dim() - 1 - i // 2 for i in range(0, len(pad), 2) if pad[i] or pad[i + 1]]
    gone = _gone(x, padded, True)
    return out.masked_fill(gone, NAN) if _fits(gone, out) else out


@_means(aten.im2col)
def _im2col(func: Any, x: Tensor, kernel: list[int], *args: Any) -> Tensor:
    out: Tensor = func(_there(x), kernel, *args)
    gone = x.isnan().flatten(2).all(2).repeat_interleave(math.prod(kernel), 1)
    return out.masked_fill(gone.unsqueeze(-1), NAN)


@_means(aten.where)
def _where(func: Any, condition: Tensor, a: Any = None, b: Any = None) -> Any:
    out = func(condition, a, b)
    for side in (a, b):
        if isinstance(side, Tensor) and side.is_floating_point() and _fits(side.isnan(), out):
            out = out.masked_fill(side.isnan(), NAN)
    return out


@_means(aten.argmax, aten.argmin, aten.sort, aten.topk, aten.cumsum, aten.cumprod, aten.cummax)
def _ordered(func: Any, x: Tensor, *args: Any, **kw: Any) -> Any:
    position = 1 if func.overloadpacket is aten.topk else 0
    dim = args[position] if len(args) > position else kw.get("dim", -1)
    gone = x.isnan()
    if dim is None or bool((gone.any(dim) & ~gone.all(dim)).any()):
        raise WrongCut(f"`{func}` orders channels of which some are gone")
    return func(x, *args, **kw)
