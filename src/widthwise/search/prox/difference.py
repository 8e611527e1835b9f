"""The prox of the l1 norm less the l2 norm."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional


def difference_shrink(latent: Tensor, step: float) -> Tensor:
    r"""Move a vector to the minimum of ``‖x - z‖² / 2 + step * (‖x‖₁ - ‖x‖₂)``.

    In closed form by Lou and Yan, "Fast L1-L2 Minimization via a Proximal Operator" (2018,
    arXiv:1609.09530): a soft threshold, stretched so that what it takes from the length is given
    back. The penalty is zero for vectors of a single entry, so the largest entry is never lost. One
    of the penalties of Li et al., "Group Sparsity: The Hinge Between Filter Pruning and
    Decomposition" (CVPR 2020, arXiv:2003.08935).

    Args:
        latent: Shape ``[u]``. Not changed.
        step: Weight of the penalty. Must be non-negative.

    Returns:
        A new tensor of shape ``[u]``.

    Raises:
        ValueError: If ``step`` is negative.

    Example:
        >>> difference_shrink(torch.tensor([3.0, -4.5, 0.25]), step=0.5)
        tensor([ 2.7650, -4.4240,  0.0000])
    """
    if step < 0:
        raise ValueError(f"The step of a shrinkage must be non-negative, got {step}.")
    if not latent.numel():
        return latent.clone()
    soft = functional.softshrink(latent, step)
    length = torch.linalg.vector_norm(soft)
    stretched = soft * (1 + step / length.clamp_min(torch.finfo(latent.dtype).tiny))
    largest = torch.zeros_like(latent)
    place = latent.abs().argmax()
    largest[place] = latent[place]
    return torch.where(length > 0, stretched, largest)


@dataclass(frozen=True, kw_only=True)
class DifferenceShrink:
    """Shrink the latents of every axis by the l1-2 regulariser."""

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """See `Prox`; the vectors are those of the axes."""
        moved = torch.empty_like(latents)
        for axis in axis_of_unit.unique():
            own = axis_of_unit == axis
            moved[own] = difference_shrink(latents[own], step)
        return moved
