"""How fast units have to fade for a search to reach its budget at a step that is known."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from widthwise.cost import Budget, limit
from widthwise.errors import ConfigError
from widthwise.graph import ChannelGraph
from widthwise.search.handles.floors import Floors

_EVERY = 10
"""Steps between two looks at what is left to do: training pulls at the same numbers."""


class Pace:
    """Tells after each step how far magnitudes have to move towards zero.

    The units that the budget has no room for have some way left to the threshold; it is shared out
    among the steps that are left. So a search has a length, whatever the learning rate, in the
    place of a strength that has to be tried out.

    Args:
        graph: The network.
        budgets: All of them are to be met.
        floors: Which units stay, however small.
        steps: In which they are.
        threshold: Below which a unit counts as removed.

    Raises:
        ConfigError: If `steps` is not positive.
    """

    def __init__(
        self,
        graph: ChannelGraph,
        budgets: Sequence[Budget],
        floors: Floors,
        *,
        steps: int,
        threshold: float,
    ) -> None:
        if steps < 1:
            raise ConfigError(f"`steps` must be at least 1, got {steps!r}.")
        self._graph, self._floors = graph, floors
        self._bounds = [(budget, limit(budget, graph)) for budget in budgets]
        self._steps, self._threshold = steps, threshold
        self._done, self._distance = 0, 0.0

    def distance(self, latents: Tensor) -> float:
        """Return how far this step moves magnitudes.

        Args:
            latents: One finite number per unit, shape ``[units]``.

        Returns:
            A distance of at least 0.
        """
        if self._done % _EVERY == 0:
            way = self._needed(latents) - self._threshold
            wanted = way / max(self._steps - self._done, _EVERY)
            # It never lets go, or training brings back what has faded.
            self._distance = max(self._distance, wanted)
        self._done += 1
        return self._distance

    def _needed(self, latents: Tensor) -> float:
        """Return the smallest threshold that leaves no more than the budgets have room for."""

        def fits(threshold: float) -> bool:
            kept = self._floors.kept(latents, threshold)
            return all(budget.cost(self._graph, kept) <= most for budget, most in self._bounds)

        # Above each magnitude the cost is a little lower; above all of them, floors are left.
        above = np.nextafter(np.unique(latents.detach().abs().cpu().numpy()), np.inf)
        place = bisect_left(above, True, key=fits)
        return float(above[min(place, len(above) - 1)])

    def state_dict(self) -> dict[str, Any]:
        """Return steps done and the distance of the moment."""
        return {"done": self._done, "distance": self._distance}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from such a state."""
        self._done, self._distance = int(state["done"]), float(state["distance"])
