"""Log thresholding: the prox of the logarithms of magnitudes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def log_threshold(latent: Tensor, step: float, epsilon: float) -> Tensor:
    r"""Move every entry to the minimum of ``(x - z)² / 2 + step * log(1 + |x| / epsilon)``.

    The log-sum penalty of Candès, Wakin and Boyd, "Enhancing Sparsity by Reweighted l1
    Minimization" (2008); one of those of Li et al., "Group Sparsity: The Hinge Between Filter
    Pruning and Decomposition" (CVPR 2020, arXiv:2003.08935). Their released code takes the local
    minimum beside the entry wherever there is one; here it is the global one, which is zero for
    more of the entries.

    Args:
        latent: Any shape. Not changed.
        step: Weight of the penalty. Must be non-negative.
        epsilon: Where the penalty turns from steep to flat.

    Returns:
        A new tensor of the same shape.

    Raises:
        ValueError: If ``step`` is negative or ``epsilon`` is not positive.

    Example:
        >>> log_threshold(torch.tensor([0.3, -2.0]), step=0.25, epsilon=0.5)
        tensor([ 0.0000, -1.8956])
    """
    if step < 0:
        raise ValueError(f"The step of a log threshold must be non-negative, got {step}.")
    if not epsilon > 0:
        raise ValueError(f"The epsilon of a log threshold must be positive, got {epsilon}.")
    size = latent.abs()
    # Where the derivative is zero, (x - size) (x + epsilon) + step = 0: the larger root.
    under = (size + epsilon).square() - 4 * step
    x = ((size - epsilon + under.clamp_min(0).sqrt()) / 2).clamp_min(0)
    better = (x - size).square() / 2 + step * torch.log1p(x / epsilon) < size.square() / 2
    return torch.where((under > 0) & better, latent.sign() * x, 0.0)


@dataclass(frozen=True, kw_only=True)
class LogThreshold:
    """Log-threshold every latent on its own.

    Args:
        epsilon: Where the penalty turns from steep to flat.
    """

    epsilon: float = 1e-8

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """See `Prox`; axes play no part."""
        return log_threshold(latents, step, self.epsilon)
