"""Decay: the prox of the squared l2 norm."""

from __future__ import annotations

from torch import Tensor


def l2_decay(weight: Tensor, step: Tensor | float) -> Tensor:
    r"""Scale entries towards zero, as half their square times a factor asks for.

    The proximal operator of :math:`\frac{t}{2} \lVert w \rVert_2^2`: :math:`w / (1 + t)`. A
    gradient step, :math:`w (1 - t)`, is the same for small steps, and overshoots above 1.

    Args:
        weight: Any shape. Not changed.
        step: Non-negative; one for all entries, or a tensor that broadcasts to them.

    Returns:
        A new tensor of the same shape.

    Example:
        >>> import torch
        >>> l2_decay(torch.tensor([1.0, -2.0]), 1.0)
        tensor([ 0.5000, -1.0000])
    """
    return weight / (1 + step)
