"""Settings of the search methods a recipe can choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

    from widthwise.cost import Budget
    from widthwise.search.search import Search


@dataclass(frozen=True, kw_only=True)
class DhpConfig:
    """Li et al., "DHP: Differentiable Meta Pruning via HyperNetworks" (ECCV 2020)."""

    name: Literal["dhp"] = "dhp"
    """Name of the method."""
    sparsity: float = 1e-4
    """Every step pulls the latents towards zero by this times the learning rate."""
    prune_threshold: float = 5e-3
    """Units with latents below this count as removed when the cost is compared with the budget."""
    stop_limit: float = 0.05
    """The search ends when the cost is above the budget by at most this, of the full cost."""
    check_every: int = 100
    """Steps between two comparisons of the cost with the budget."""
    embedding_dim: int = 8
    """Length of the embedding of a pair of units."""
    min_width: int = 4
    """Units that every axis keeps at least."""
    min_keep: float | dict[str, float] = 0.0
    """Fraction of its units that every axis keeps at least; or one per name or glob of axes."""
    round_to: int = 1
    """Every width is a multiple of this."""
    include: tuple[str, ...] | None = None
    """Axes that may be narrowed, by name or glob. All that can be if not given."""
    exclude: tuple[str, ...] | None = None
    """Axes that stay as they are, by name or glob."""

    def attach(
        self, network: nn.Module, example: Any, *, budget: Sequence[Budget], seed: int
    ) -> Search:
        """Attach the search to a network.

        Args:
            network: Changed in place; see `widthwise.methods.dhp`.
            example: Example inputs of the network.
            budget: What the found network may cost.
            seed: Seed of the latents.

        Returns:
            The search.
        """
        from widthwise.methods import dhp

        settings = asdict(self)
        del settings["name"]
        return dhp(network, example, budget=budget, seed=seed, **settings)
