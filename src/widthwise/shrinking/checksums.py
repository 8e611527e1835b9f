"""A checksum of weights, kept in their file: a flipped bit is a network that computes nonsense."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import torch
from torch import Tensor

CHECKSUM = "checksum"
"""Key in the metadata of a safetensors file."""


def checksum_of(tensors: Mapping[str, Tensor]) -> str:
    """Return a checksum of names, types, shapes and values, whatever their order in the file.

    Args:
        tensors: On the CPU, in plain order in memory.
    """
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return f"sha256:{found.hexdigest()}"


def noted_checksum(content: bytes) -> str | None:
    """Return the checksum that a safetensors file notes; None if it notes none.

    Args:
        content: The whole file, which has been parsed.
    """
    length = int.from_bytes(content[:8], "little")
    noted = json.loads(content[8 : 8 + length]).get("__metadata__", {}).get(CHECKSUM)
    return None if noted is None else str(noted)
