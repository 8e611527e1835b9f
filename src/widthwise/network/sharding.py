"""Tensors that are spread over processes, as FSDP2 leaves parameters."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from widthwise.arguments import is_sharded


def whole(tensor: Tensor) -> Tensor:
    """Return a tensor in one piece.

    Args:
        tensor: If it is spread, every process that holds a part of it must call this.

    Returns:
        All of it, without gradient; the same tensor if it is not spread.
    """
    return cast(Any, tensor).full_tensor().detach() if is_sharded(tensor) else tensor


@torch.no_grad()
def fill(tensor: Tensor, value: Tensor) -> None:
    """Overwrite a tensor that may be spread.

    Args:
        tensor: Changed in place.
        value: In one piece, and the same on every process that holds a part.
    """
    if is_sharded(tensor):
        # It takes half a second to import.
        from torch.distributed.tensor import distribute_tensor

        spread = cast(Any, tensor)
        value = distribute_tensor(value, spread.device_mesh, spread.placements)
    tensor.copy_(value)
