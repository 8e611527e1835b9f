"""No proximal step, for searches whose score needs no sparsity."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class NoProx:
    """Leave the latents as the optimizer left them."""

    def __call__(self, latents: Tensor, step: float, axis_of_unit: Tensor) -> Tensor:
        """See `Prox`."""
        return latents.clone()
