"""Cut a network by a plan, heal it, and measure what is lost on inputs that are held out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from widthwise.compression.record import Trial
from widthwise.errors import SearchError
from widthwise.healing import heal
from widthwise.network.batches import evaluating
from widthwise.network.inputs import Inputs
from widthwise.network.outputs import tensors_of
from widthwise.plans import Plan
from widthwise.search.distance import agreement, distance
from widthwise.shrinking import shrink

Measure = Callable[[nn.Module], float]
"""Returns how good a network is: more is better."""


class Trials:
    """Plans for one network, healed and measured alike.

    Args:
        model: The full network.
        healed_on: Inputs to heal on.
        compared_on: Others, to measure on.
        measure: The user's own, in the place of the distance of outputs.
    """

    def __init__(
        self,
        model: nn.Module,
        healed_on: Sequence[Inputs],
        compared_on: Sequence[Inputs],
        measure: Measure | None,
    ) -> None:
        self._model, self._healed_on, self._compared_on = model, healed_on, compared_on
        self._measure = measure
        self._full = [self._outputs(model, batch) for batch in compared_on]
        self.full_measure = None if measure is None else self._measured(model, measure)

    def of(self, name: str, plan: Plan, layers: Collection[str] | None = None) -> Trial:
        """Measure a plan.

        Args:
            name: How it was decided.
            plan: Made from the graph of the network.
            layers: Which to heal; all by default.

        Returns:
            What was measured.

        Raises:
            SearchError: If the measure is not a number.
        """
        small = shrink(self._model, plan, verify=False)
        heal(small, self._model, plan, self._healed_on, layers=layers)
        total, alike, items = 0.0, 0.0, 0
        answers = True
        for batch, full in zip(self._compared_on, self._full, strict=True):
            found = self._outputs(small, batch)
            count = batch.batch or 1
            total += distance(full, found) * count
            answers = answers and bool(full) and full[0].dim() == 2 and full[0].shape[1] > 1
            alike += agreement(full[0], found[0]) * count if answers else 0.0
            items += count
        share = alike / items if answers else None
        if self._measure is None or self.full_measure is None:
            return Trial(name, plan, total / items, share)
        value = self._measured(small, self._measure)
        return Trial(name, plan, max(self.full_measure - value, 0.0), share, value)

    @staticmethod
    def _outputs(network: nn.Module, inputs: Inputs) -> list[Tensor]:
        with evaluating(network), torch.no_grad():
            return tensors_of(inputs.call(network))

    @staticmethod
    def _measured(network: nn.Module, measure: Measure) -> float:
        with evaluating(network), torch.no_grad():
            value = float(measure(network))
        if value != value:
            raise SearchError(
                "The measure of a network is not a number.\n"
                "Hint: `measure(network)` returns how good it is, more is better."
            )
        return value
