"""How hard a search pushes, and when it has pushed enough."""

from __future__ import annotations

import math
from dataclasses import dataclass

from widthwise.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Pressure:
    """How hard a search pushes latents to zero, and when it has pushed enough."""

    sparsity: float
    """Strength of the regulariser: every step moves the latents by ``sparsity * lr``."""
    prune_threshold: float
    """Latents of at least this magnitude count as kept."""
    stop_limit: float
    """The search is done when its cost is above the budget by at most this fraction of the full
    cost."""
    check_every: int
    """Steps between two comparisons with the budget."""

    def __post_init__(self) -> None:
        for name in ("sparsity", "prune_threshold", "stop_limit"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"`{name}` must be a finite number of at least 0, got {value!r}.")
        if self.check_every < 1:
            raise ConfigError(f"`check_every` must be at least 1 step, got {self.check_every!r}.")
