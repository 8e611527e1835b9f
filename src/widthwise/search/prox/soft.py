"""Soft thresholding: the prox of the l1 norm."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


def soft_threshold(latent: Tensor, step: float) -> Tensor:
    r"""Pull every entry of a latent towards zero by ``step``, stopping at zero.

    The proximal operator of :math:`t \lVert z \rVert_1`, applied after each optimizer step with
    ``step = lr * sparsity`` in Li et al., "DHP" (ECCV 2020, arXiv:2003.13683).

    Args:
        latent: Any shape. Not changed.
        step: Distance to move, in latent units. Must be non-negative.

    Returns:
        A new tensor of the same shape. Entries with ``abs(z) <= step`` are zero.

    Raises:
        ValueError: If ``step`` is negative.

    Example:
        >>> import torch
        >>> soft_threshold(torch.tensor([0.5, -0.75, 0.125]), step=0.25)
        tensor([ 0.2500, -0.5000,  0.0000])
    """
    if step < 0:
        raise ValueError(f"The step of a soft threshold must be non-negative, got {step}.")
    return functional.softshrink(latent, step)


@dataclass(frozen=True, kw_only=True)
class SoftThreshold:
    """Soft-threshold every latent on its own: the l1 regulariser of DHP."""

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """See `Prox`; axes play no part."""
        return soft_threshold(latents, step)
