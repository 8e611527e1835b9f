"""What stays in single precision while a network trains in a smaller one.

A place in an image does not fit into bfloat16, which has 8 bits, and neither do the small steps of
the inner optimiser.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


def at_least_single(tensor: Tensor) -> Tensor:
    """Convert a tensor to float32, unless it has more digits already.

    Args:
        tensor: Of any floating dtype.

    Returns:
        The tensor, or a copy in float32.

    Example:
        >>> at_least_single(torch.zeros(1, dtype=torch.bfloat16)).dtype
        torch.float32
    """
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


@contextmanager
def without_autocast(tensor: Tensor) -> Iterator[None]:
    """Compute as written, in the dtypes that tensors have.

    Args:
        tensor: On the device in question.

    Yields:
        Nothing.
    """
    kind = tensor.device.type
    # There is none on the meta device, where networks are traced.
    if not torch.amp.is_autocast_available(kind):
        yield
        return
    with torch.autocast(kind, enabled=False):
        yield
