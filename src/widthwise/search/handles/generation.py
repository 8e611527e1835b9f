"""From pairs of latents to kernels: the three layers of DHP's hypernetwork, nothing shared.

Shape letters as in `hypernetwork`: ``p`` pairs, ``m`` embedding dim, ``k`` kernel taps. There are
about ``m`` times as many of these parameters as of weights, and each is used once. So where they do
not fit into a cache, all time goes into reading and writing them, and what is in between must not
leave the cache: the product of ``m k p`` numbers is made and summed up block by block. Pairs are
the last dim, so that every operation runs along thousands of neighbours in memory.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BLOCK = 2**18
"""Numbers of a block: 1 MiB in single precision."""
_MANY = 4
"""Blocks from which on it is worth it."""


def generate(pair: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    r"""Generate kernel taps for pairs of latent entries.

    Three layers per pair, nothing shared between pairs (Li et al., "DHP", ECCV 2020,
    arXiv:2003.13683, section 3.2):

    .. math:: Z = z_a z_b + B_0, \quad E = Z W_1 + B_1, \quad O = W_2^T E + B_2

    Args:
        pair: ``Z``, for every pair. Shape ``[p]``.
        w1: Shape ``[m, p]``.
        b1: Shape ``[m, p]``.
        w2: Shape ``[m, k, p]``.
        b2: Shape ``[k, p]``.

    Returns:
        Kernel taps, shape ``[k, p]``.
    """
    large = w2.numel() > _MANY * _BLOCK and w2.device.type == "cpu"
    if large and not torch.compiler.is_compiling():
        taps: Tensor = _InBlocks.apply(pair, w1, b1, w2, b2)
        return taps
    return _at_once(pair, w1, b1, w2, b2)


def _at_once(pair: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    # A product and a sum are faster than a matrix product per pair. Autocast leaves both in full
    # precision, as it leaves a stored weight until a layer uses it.
    embedding = b1 + pair * w1
    return _summed(w2 * embedding[:, None]) + b2


def _summed(products: Tensor) -> Tensor:
    """Add up the first dim, to the same bits wherever a number lies in memory."""
    # A weight is generated with all others, and alone when the network is cut. On the CPU, the
    # order of PyTorch's sums and the rounding of its fused products depend on the place; on a GPU
    # they do not, and half as much is written.
    if products.is_cuda:
        return products.sum(0)
    while len(products) > 1:
        half = len(products) // 2
        first, second, rest = products.split([half, half, len(products) - 2 * half])
        products = torch.cat([first + second, rest]) if len(rest) else first + second
    return products[0]


class _InBlocks(torch.autograd.Function):
    """What `_at_once` computes, some pairs at a time, and its gradients."""

    @staticmethod
    def forward(pair: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
        taps = torch.empty_like(b2)
        for here in _blocks(w2):
            taps[:, here] = _at_once(
                pair[here], w1[:, here], b1[:, here], w2[..., here], b2[:, here]
            )
        return taps

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        pair, w1, b1, w2, _ = inputs = ctx.saved_tensors
        if torch.is_grad_enabled():
            # Gradients of gradients are wanted.
            wanted = [each for each in inputs if each.requires_grad]
            with torch.enable_grad():
                found = iter(
                    torch.autograd.grad(_at_once(*inputs), wanted, grad, create_graph=True)
                )
            return tuple(next(found) if each.requires_grad else None for each in inputs)
        of_pair, of_w1, of_b1, of_w2 = (torch.empty_like(each) for each in (pair, w1, b1, w2))
        for here in _blocks(w2):
            taps = grad[None, :, here]
            embedding = b1[:, here] + pair[here] * w1[:, here]
            torch.mul(taps, embedding[:, None], out=of_w2[..., here])
            of_embedding = (w2[..., here] * taps).sum(1)
            of_b1[:, here] = of_embedding
            torch.mul(of_embedding, pair[here], out=of_w1[:, here])
            torch.sum(of_embedding * w1[:, here], 0, out=of_pair[here])
        return of_pair, of_w1, of_b1, of_w2, grad


def _blocks(w2: Tensor) -> list[slice]:
    """Divide the pairs into blocks."""
    embedding, taps, pairs = w2.shape
    size = max(_BLOCK // (embedding * taps), 1)
    return [slice(start, start + size) for start in range(0, pairs, size)]
