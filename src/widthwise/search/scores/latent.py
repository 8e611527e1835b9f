"""Scores read from the latents of a search."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from widthwise.graph import ChannelGraph


@dataclass(frozen=True, kw_only=True)
class LatentMagnitude:
    """The magnitude of a unit's latent: the criterion of DHP (arXiv:2003.13683)."""

    latents: Tensor
    """One entry per unit, shape ``[u]``; read when the score is asked for."""

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit of ``graph``: float64, shape ``[u]``."""
        return self.latents.detach().abs().cpu().double().numpy()
