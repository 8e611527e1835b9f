"""Group soft thresholding: the prox of the sum of l2 norms."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def l2_shrink(latent: Tensor, step: float, groups: Tensor | None = None) -> Tensor:
    r"""Scale every group of entries so that its l2 norm falls by ``step``, stopping at zero.

    The proximal operator of :math:`t \sum_g \lVert z_g \rVert_2`:
    :math:`z_g (1 - t / \max(\lVert z_g \rVert_2, t))`; the ``l2`` regulariser of the released code
    of Li et al., "DHP" (ECCV 2020, arXiv:2003.13683).

    Args:
        latent: Shape ``[u]``. Not changed.
        step: Distance to move, in latent units. Must be non-negative.
        groups: Number of the group each entry belongs to, int64 in ``[0, u)``, shape ``[u]``; None
            for one group of all entries.

    Returns:
        A new tensor of shape ``[u]``. Groups whose norm is at most ``step`` are zero.

    Raises:
        ValueError: If ``step`` is negative.

    Example:
        >>> l2_shrink(torch.tensor([3.0, 4.0]), step=2.5)
        tensor([1.5000, 2.0000])
    """
    if step < 0:
        raise ValueError(f"The step of a group shrinkage must be non-negative, got {step}.")
    if groups is None:
        groups = torch.zeros_like(latent, dtype=torch.int64)
    # As many sums as entries is always enough, and asks the device for no number of groups.
    squares = torch.zeros_like(latent).index_add_(0, groups, latent.square())
    norms = squares.sqrt().clamp_min(torch.finfo(latent.dtype).tiny)
    return latent * torch.relu(1 - step / norms)[groups]


@dataclass(frozen=True, kw_only=True)
class GroupSoftThreshold:
    """Shrink the latents of each axis together: all entries of an axis keep their proportions."""

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """See `Prox`; the groups are the axes."""
        return l2_shrink(latents, step, axis_of_unit)
