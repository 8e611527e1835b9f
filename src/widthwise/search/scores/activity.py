"""What layers read: how much it varies, and how many patterns there are in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widthwise.graph import ChannelGraph
from widthwise.network.batches import evaluating
from widthwise.search.scores.readers import (
    Reader,
    channels,
    inputs_of,
    readers_of,
    watched,
    with_unread,
)


@dataclass(frozen=True)
class Variance:
    """Variance of a unit, times the squares of the weights that read it.

    What a constant unit carries, a bias can carry. Criterion of An et al., "Fluctuation-based
    Adaptive Structured Pruning for Large Language Models" (AAAI 2024, arXiv:2312.11983), summed
    over all layers that read a unit.

    Args:
        batches: Inputs as the forward takes them, a few hundred in all; no labels.
    """

    batches: Iterable[Any] = field(repr=False)

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit.

        Args:
            graph: The network; not changed.

        Returns:
            Float64, shape ``[units]``.

        Raises:
            ConfigError: If there are no batches, or one holds values that are not finite.
        """
        readers = readers_of(graph)
        sums: dict[str, list[Any]] = {reader.path: [0, 0.0, 0.0] for reader in readers}

        def watch(reader: Reader, given: Tensor, _: Tensor) -> None:
            x = channels(reader.layer, given).double()
            known = sums[reader.path]
            known[0] += x.shape[0] * x.shape[2]
            known[1] = known[1] + x.sum((0, 2))
            known[2] = known[2] + x.square().sum((0, 2))

        with evaluating(graph.model), watched(readers, watch):
            for inputs in inputs_of(graph, self.batches):
                inputs.call(graph.model)
        scores, seen = np.zeros(graph.unit_count), np.zeros(graph.unit_count, bool)
        for reader in readers:
            count, first, second = sums[reader.path]
            if not count:
                continue
            variance = (second / count - (first / count).square()).clamp_min(0)
            squares = reader.weight.double().square().transpose(0, 1).flatten(1).sum(1)
            np.add.at(scores, reader.units, (variance * squares).cpu().numpy())
            seen[reader.units] = True
        return with_unread(graph, scores, seen)


@dataclass(frozen=True)
class FeatureRank:
    """Rank of the maps of a unit, as a matrix of height times width, averaged over inputs.

    Criterion of Lin et al., "HRank: Filter Pruning using High-Rank Feature Map" (CVPR 2020,
    arXiv:2002.10179), taken where a layer reads the unit and averaged over its readers. A number
    per item in the place of a map has rank one, or zero where it is zero.

    Args:
        batches: Inputs as the forward takes them; no labels.
    """

    batches: Iterable[Any] = field(repr=False)

    @torch.inference_mode(False)
    @torch.no_grad()
    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit.

        Args:
            graph: The network; not changed.

        Returns:
            Float64, shape ``[units]``.

        Raises:
            ConfigError: If there are no batches, or one holds values that are not finite.
        """
        totals, counts = np.zeros(graph.unit_count), np.zeros(graph.unit_count)

        def watch(reader: Reader, given: Tensor, _: Tensor) -> None:
            if given.dim() == 4 and given.shape[1] == len(reader.units):
                ranks = torch.linalg.matrix_rank(given.float()).double().mean(0)
            else:
                ranks = (channels(reader.layer, given).abs().amax(2) > 0).double().mean(0)
            np.add.at(totals, reader.units, ranks.cpu().numpy())
            np.add.at(counts, reader.units, 1)

        with evaluating(graph.model), watched(readers_of(graph), watch):
            for inputs in inputs_of(graph, self.batches):
                inputs.call(graph.model)
        seen = counts > 0
        return with_unread(graph, totals / np.maximum(counts, 1), seen)
