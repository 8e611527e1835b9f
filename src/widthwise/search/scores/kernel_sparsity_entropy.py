"""KSE: how large the kernels are that read a channel, and how much they differ."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from widthwise.errors import ConfigError
from widthwise.graph import ChannelGraph
from widthwise.search.scores.readers import Reader, readers_of, with_unread

_AT_ONCE = 16_000_000
"""Distances that are computed at a time."""


@dataclass(frozen=True, kw_only=True)
class KernelSparsityEntropy:
    """``sqrt(s / (1 + alpha * e))`` of sparsity and entropy of the kernels that read a channel.

    Li et al., "Exploiting Kernel Sparsity and Entropy for Interpretable CNN Compression" (CVPR
    2019, arXiv:1812.04368). For an input channel of a layer, ``s`` is the l1 norm of its kernels,
    one for each filter; ``e`` is the entropy of their densities, each the distance to its nearest
    neighbours among them. Both are scaled to [0, 1] over the channels of the layer. Kernels that
    are alike have a high entropy, and could be computed once.

    Published for one layer, without ties. Here a unit has the sum over all layers that read it;
    what no layer reads, such as parts of attention, gets the squares of its weights at that scale.

    Args:
        alpha: Weight of the entropy.
        neighbours: Nearest kernels that a density looks at.

    Raises:
        ConfigError: If `alpha` is negative or `neighbours` is not positive.
    """

    alpha: float = 1.0
    neighbours: int = 5

    def __post_init__(self) -> None:
        if not 0 <= self.alpha < float("inf"):
            raise ConfigError(f"`alpha` must be a number of at least 0, got {self.alpha!r}.")
        if self.neighbours < 1:
            raise ConfigError(f"`neighbours` must be at least 1, got {self.neighbours!r}.")

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit, shape ``[units]``."""
        scores = np.zeros(graph.unit_count)
        seen = np.zeros(graph.unit_count, bool)
        for reader in readers_of(graph):
            scores += np.bincount(reader.units, self._of(reader), minlength=graph.unit_count)
            seen[reader.units] = True
        return with_unread(graph, scores, seen)

    def _of(self, reader: Reader) -> np.ndarray:
        """Return the indicator of every input channel of a layer."""
        weight = reader.weight.float()
        kernels = weight.reshape(*weight.shape[:2], -1).transpose(0, 1)
        sparsity = _scaled(kernels.abs().sum((1, 2)))
        step = max(1, _AT_ONCE // kernels.shape[1] ** 2)
        entropy = _scaled(torch.cat([_entropy(k, self.neighbours) for k in kernels.split(step)]))
        return torch.sqrt(sparsity / (1 + self.alpha * entropy)).double().cpu().numpy()


def _entropy(kernels: Tensor, neighbours: int) -> Tensor:
    """Return the entropy of the densities of kernels ``[channels, kernels, taps]``, by channel."""
    count = kernels.shape[1]
    distances = torch.cdist(kernels, kernels, compute_mode="donot_use_mm_for_euclid_dist")
    nearest = min(neighbours, count - 1)
    # The nearest of all is the kernel itself.
    density = distances.topk(nearest + 1, dim=2, largest=False).values[:, :, 1:].sum(2)
    total = density.sum(1, keepdim=True)
    shares = torch.where(total > 0, density / total, 1 / count)
    return torch.special.entr(shares).sum(1)


def _scaled(values: Tensor) -> Tensor:
    """Move values to [0, 1]; if all are the same, to 1."""
    least, most = values.min(), values.max()
    return (values - least) / (most - least) if most > least else torch.ones_like(values)
