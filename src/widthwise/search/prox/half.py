"""Half thresholding: the prox of the square roots of magnitudes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def half_threshold(latent: Tensor, step: float) -> Tensor:
    r"""Move every entry to the minimum of ``(x - z)² / 2 + step * sqrt(|x|)``.

    In closed form by Xu et al., "L1/2 Regularization: A Thresholding Representation Theory and a
    Fast Solver" (TNNLS 2012): large entries move less than small ones, and entries of at most
    ``1.5 * step ** (2 / 3)`` become zero. One of the penalties of Li et al., "Group Sparsity: The
    Hinge Between Filter Pruning and Decomposition" (CVPR 2020, arXiv:2003.08935), whose ``step`` is
    twice this one, as they leave out the factor of 1/2.

    Args:
        latent: Any shape. Not changed.
        step: Weight of the penalty. Must be non-negative.

    Returns:
        A new tensor of the same shape.

    Raises:
        ValueError: If ``step`` is negative.

    Example:
        >>> half_threshold(torch.tensor([0.3, -4.0]), step=0.125)
        tensor([ 0.0000, -3.9686])
    """
    if step < 0:
        raise ValueError(f"The step of a half threshold must be non-negative, got {step}.")
    size = latent.abs()
    large = size > 1.5 * step ** (2 / 3)
    safe = torch.where(large, size, 1.0)
    angle = torch.arccos((step / 4 * (safe / 3) ** -1.5).clamp(max=1.0))
    factor = 2 / 3 * (1 + torch.cos(2 / 3 * (math.pi - angle)))
    return torch.where(large & (latent != 0), latent * factor, 0.0)


@dataclass(frozen=True, kw_only=True)
class HalfThreshold:
    """Half-threshold every latent on its own: the l1/2 regulariser."""

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """See `Prox`; axes play no part."""
        return half_threshold(latents, step)
