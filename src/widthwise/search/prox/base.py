"""The interface of a proximal step."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Prox(Protocol):
    """What shrinks the latents after every optimizer step."""

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """Move the latents towards zero.

        Args:
            latents: One entry per unit, shape ``[u]``. Not changed.
            step: Distance to move, in latent units, non-negative.
            axis_of_unit: Number of the axis each unit belongs to, int64, shape ``[u]``.

        Returns:
            The moved latents, a new tensor of shape ``[u]``.
        """
        ...
