"""Cut a network by a plan, heal it, and measure what is lost on inputs that are held out."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence

import torch
from torch import Tensor, nn

from widthwise.compression.record import Trial
from widthwise.errors import ConfigError, SearchError
from widthwise.healing import HealReport, heal
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
        self.answers = all(out and out[0].dim() == 2 and out[0].shape[1] > 1 for out in self._full)
        if measure is None and not any(t.is_floating_point() for out in self._full for t in out):
            raise ConfigError(
                f"`{type(model).__name__}` returns no floating-point numbers to compare plans by.\n"
                "Hint: pass a `measure`, or compress the network in front of its decisions."
            )
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
            SearchError: If a measure is not a number.
        """
        return self.judged(name, plan, self.healed(plan, layers)[0])

    def healed(
        self, plan: Plan, layers: Collection[str] | None = None
    ) -> tuple[nn.Module, HealReport]:
        """Cut the network by a plan, and heal it on the few inputs of a trial."""
        small = shrink(self._model, plan, verify=False)
        return small, heal(small, self._model, plan, self._healed_on, layers=layers)

    def judged(self, name: str, plan: Plan, small: nn.Module) -> Trial:
        """Measure a network on the inputs that are held out.

        Args:
            name: How its plan was decided.
            plan: What it was cut by.
            small: The network.

        Returns:
            What was measured.

        Raises:
            SearchError: If a measure is not a number.
        """
        total, alike, items = 0.0, 0.0, 0
        for batch, full in zip(self._compared_on, self._full, strict=True):
            found = self._outputs(small, batch)
            count = batch.batch or 1
            total += distance(full, found) * count
            alike += agreement(full[0], found[0]) * count if self.answers else 0.0
            items += count
        apart = total / items
        if not math.isfinite(apart):
            raise SearchError(
                f"The outputs of a plan (by {name}) are not finite where those of the full network "
                "are, or the other way round."
            )
        share = alike / items if self.answers else None
        if self._measure is None or self.full_measure is None:
            return Trial(name, plan, apart, apart, share)
        value = self._measured(small, self._measure)
        return Trial(name, plan, max(self.full_measure - value, 0.0), apart, share, value)

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
