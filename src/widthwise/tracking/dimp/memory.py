"""The frames that a filter is improved on, and how much each of them counts."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from widthwise.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class MemorySettings:
    """What is remembered of a video."""

    capacity: int = 50
    """Samples, those of the first frame included."""
    rate: float = 0.01
    """Share of a new sample, and what later ones count more than earlier ones."""
    hard_rate: float = 0.02
    """The same where something else looked like the target."""
    first_share: float = 0.25
    """What the samples of the first frame count at least, together."""


class SampleMemory:
    """Features and boxes with weights that are 1 in sum.

    Args:
        features: Of the first frame's samples, ``[n, c, h, w]``. They are never forgotten.
        boxes: Of the target in them, ``[n, 4]``, in pixels of the crops.
        settings: How much is remembered.

    Raises:
        ConfigError: If there is no place for a further sample.

    Example:
        >>> memory = SampleMemory(torch.zeros(3, 8, 4, 4), torch.ones(3, 4), MemorySettings())
        >>> memory.add(torch.zeros(8, 4, 4), torch.ones(4), rate=0.1)
        >>> memory.weights
        tensor([0.3000, 0.3000, 0.3000, 0.1000])
    """

    def __init__(self, features: Tensor, boxes: Tensor, settings: MemorySettings) -> None:
        count = len(features)
        if count >= settings.capacity:
            raise ConfigError(
                f"A memory of {settings.capacity} samples has no place beside the {count} of the "
                "first frame.\n"
                "Hint: set a larger `capacity`."
            )
        self.settings = settings
        self._initial, self._count = count, count
        self._features = features.new_zeros(settings.capacity, *features.shape[1:])
        self._boxes = boxes.new_zeros(settings.capacity, 4)
        self._weights = torch.zeros(settings.capacity)
        self._features[:count], self._boxes[:count] = features, boxes
        self._weights[:count] = 1 / count
        self._newest: float | None = None

    @property
    def features(self) -> Tensor:
        """Of all samples, ``[n, c, h, w]``."""
        return self._features[: self._count]

    @property
    def boxes(self) -> Tensor:
        """Of the target in them, ``[n, 4]``."""
        return self._boxes[: self._count]

    @property
    def weights(self) -> Tensor:
        """What each counts, ``[n]``, on the CPU; 1 in sum."""
        return self._weights[: self._count]

    def add(self, features: Tensor, box: Tensor, *, rate: float) -> None:
        """Remember a sample; a full memory forgets the one that counts least.

        Args:
            features: ``[c, h, w]``.
            box: Of the target, ``[4]``.
            rate: The first sample gets this share, each later one more than the one before it by
                the factor ``1 / (1 - rate)``.
        """
        weight = (rate if self._newest is None else self._newest) / (1 - rate)
        if self._count < self.settings.capacity:
            place = self._count
            self._count += 1
        else:
            place = self._initial + int(self._weights[self._initial :].argmin())
        self._features[place], self._boxes[place], self._weights[place] = features, box, weight
        self._weights /= self._weights.sum()
        first, others = self._weights[: self._initial], self._weights[self._initial :]
        share = self.settings.first_share
        if first.sum() < share:
            first *= share / first.sum()
            others *= (1 - share) / others.sum()
        self._newest = float(self._weights[place])
