"""Give weights that are next to zero values that a proof can see through."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.graph import ChannelGraph
from widthwise.network.copying import named_tensors
from widthwise.network.narrowing import narrow_tensor, taken

ASLEEP = 1e-3
"""Largest value of a weight that is taken to be next to zero, as gains of ReZero (0) and LayerScale
(1e-6) are before training."""


def woken(
    model: nn.Module, small: nn.Module, graph: ChannelGraph, kept: np.ndarray
) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor]]:
    """Draw values for the parameters that are next to zero, the same for both networks.

    What follows a gain of zero reaches no output, so a proof would not see what is wrong with it;
    and once the gain has grown, it matters. Where such a parameter of the narrow network is no
    slice of the full one, nothing is woken: beside larger values the proof might not see that.

    Args:
        model: The full network; not changed.
        small: The narrow network; not changed.
        graph: The trace of the full network.
        kept: Which units stay. Shape ``[units]``, bool.

    Returns:
        Values for the full and for the narrow network, by name of the parameter.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    narrow = dict(named_tensors(small))
    full_values: dict[str, Tensor] = {}
    narrow_values: dict[str, Tensor] = {}
    for name, tensor in named_tensors(model):
        theirs = narrow.get(name)
        if not isinstance(tensor, nn.Parameter) or theirs is None or not _is_asleep(tensor):
            continue
        indices = tuple(
            None if units is None else taken(units, kept) for units in graph.slots[name]
        )
        if not torch.equal(narrow_tensor(tensor, indices), theirs.detach()):
            return {}, {}
        # Sums over inputs stay of the size of one.
        scale = max(tensor[0].numel() if tensor.dim() > 1 else 1, 1) ** -0.5
        drawn = torch.randn(tensor.shape, generator=generator, device="cpu") * scale
        full_values[name] = drawn.to(tensor)
        narrow_values[name] = narrow_tensor(full_values[name], indices)
    return full_values, narrow_values


def _is_asleep(tensor: Tensor) -> bool:
    return (
        tensor.is_floating_point()
        and tensor.numel() > 0
        and float(tensor.detach().abs().max()) <= ASLEEP
    )
