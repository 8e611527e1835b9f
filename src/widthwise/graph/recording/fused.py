"""Attention and recurrent layers by plain operators, which a pass can follow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel


@contextmanager
def plain_attention() -> Iterator[None]:
    """Compute attention by plain operators.

    Fused paths hide operators from a mode, and which of them runs depends on sizes.
    """
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def plain_recurrence() -> Iterator[None]:
    """Compute recurrent layers step by step on a CPU, as on the meta device.

    oneDNN runs a whole layer as one operator, which hides its products. Its convolutions are
    switched off with it, so this is for traces, not for proofs.
    """
    # Of its settings no other one is touched.
    enabled, *_ = torch.backends.mkldnn.set_flags(False, _fp32_precision=None)
    try:
        yield
    finally:
        torch.backends.mkldnn.set_flags(enabled, _fp32_precision=None)
