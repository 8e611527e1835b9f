"""Which axes to leave as they are where a cut cannot be proven: tried, not guessed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import nn

from widthwise import errors
from widthwise.graph import Axis, ChannelGraph
from widthwise.network.inputs import Inputs
from widthwise.network.narrowing import narrow_module
from widthwise.shrinking.comparing import compare_cut

_MOST_PROOFS = 24
"""Each takes two or three forward passes."""


def prove_cut(
    network: nn.Module, small: nn.Module, graph: ChannelGraph, kept: np.ndarray, given: Inputs
) -> None:
    """Prove a cut on every call of evaluation; a failure says what to exclude.

    Args:
        network: The full network.
        small: The narrow network.
        graph: The trace of the full network.
        kept: Which units stay. Shape ``[units]``, bool.
        given: What to run both on, with further calls.

    Raises:
        ProofError: If they differ.
        TraceError: If the full network does not run on these inputs.
    """
    try:
        for each in given.of_evaluation:
            compare_cut(network, small, graph, kept, each)
    except errors.ProofError as error:
        names = smallest_exclusion(network, graph, kept, given)
        if names:
            raise errors.provable_without(error, names) from error
        raise


def smallest_exclusion(
    network: nn.Module, graph: ChannelGraph, kept: np.ndarray, given: Inputs
) -> list[str]:
    """Find axes without which a cut that cannot be proven is proven.

    Args:
        network: The full network.
        graph: Its trace.
        kept: Which units stay. Shape ``[units]``, bool.
        given: What to run on, with further calls.

    Returns:
        Names of axes to leave as they are; no smaller part of them was found to do. Nothing if the
        proof fails even where nothing is cut, or if too many proofs would be needed.
    """
    narrowed = [axis for axis in graph.axes.values() if not kept[axis.units].all()]
    left = _MOST_PROOFS

    def proven(excluded: Sequence[Axis]) -> bool:
        nonlocal left
        left -= 1
        mask = kept.copy()
        for axis in excluded:
            mask[axis.units] = True
        try:
            small = narrow_module(network, graph.slots, graph.resized, mask)
            for each in given.of_evaluation:
                compare_cut(network, small, graph, mask, each)
        except errors.WidthwiseError:
            return False
        return True

    if len(narrowed) < 2 or not proven(narrowed):
        return []
    # Ever smaller parts are cut again, as long as the proof still holds without them.
    excluded, size = narrowed, len(narrowed) // 2
    while size:
        start = 0
        while start < len(excluded) and left:
            rest = excluded[:start] + excluded[start + size :]
            if rest and proven(rest):
                excluded = rest
            else:
                start += size
        size //= 2
    return [axis.name for axis in excluded] if left else []
