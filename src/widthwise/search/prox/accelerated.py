"""Accelerated proximal gradient: a step with momentum, then a soft threshold."""

from __future__ import annotations

import torch
from torch import Tensor


def accelerated_step(
    point: Tensor,
    gradient: Tensor,
    velocity: Tensor,
    *,
    rate: float,
    penalty: Tensor | float,
    momentum: float,
) -> tuple[Tensor, Tensor]:
    r"""Take one step towards the minimum of a smooth function plus an l1 penalty.

    Huang and Wang, "Data-Driven Sparse Structure Selection for Deep Neural Networks" (ECCV 2018,
    arXiv:1707.01213), equations 10 to 12: Nesterov's method with a soft threshold :math:`S`,
    written such that the gradient is that of the point the network computes with:

    .. math::
        z = S_{\eta\gamma}(x - \eta g), \quad v' = z - x + \mu v, \quad x' = z + \mu v'

    Args:
        point: Where the gradient was taken, :math:`x`, any shape. Not changed.
        gradient: Of the smooth function, :math:`g`.
        velocity: :math:`v`, zeros at first. Not changed.
        rate: :math:`\eta`.
        penalty: Weight of the absolute values, :math:`\gamma`; one for all, or one per entry.
        momentum: :math:`\mu`, in [0, 1).

    Returns:
        The next point and velocity. An entry that is below the threshold twice is zero.

    Example:
        >>> x, v = torch.tensor([1.0, 0.1]), torch.zeros(2)
        >>> accelerated_step(x, torch.zeros(2), v, rate=0.5, penalty=0.5, momentum=0.0)
        (tensor([0.7500, 0.0000]), tensor([-0.2500, -0.1000]))
    """
    moved = point - rate * gradient
    shrunk = moved.sign() * torch.relu(moved.abs() - rate * penalty)
    velocity = shrunk - point + momentum * velocity
    return shrunk + momentum * velocity, velocity
