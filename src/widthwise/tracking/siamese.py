"""Tracking with a siamese network.

Bertinetto et al., "Fully-Convolutional Siamese Networks for Object Tracking", ECCV workshops 2016,
with the constants of its first code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from widthwise.models.siamese import SEARCH_SIDE, STRIDE, TEMPLATE_SIDE
from widthwise.tracking.crops import context_side, cut

_UPSAMPLED = 16
"""Times that scores are enlarged before their peak is read."""


@dataclass(frozen=True, kw_only=True)
class SiameseSettings:
    """How the scores of a siamese network move a box."""

    scales: int = 3
    """Sizes at which the target is searched for; odd."""
    scale_step: float = 1.0375
    """From one size to the next."""
    scale_penalty: float = 0.9745
    """Factor of the scores of all sizes but the present one."""
    scale_rate: float = 0.59
    """Share of a new size that is taken over at once."""
    window: float = 0.176
    """Share of a window in the scores, which speaks for small movements."""
    smallest: float = 0.2
    """Size that a box cannot shrink below, as a multiple of the first."""
    largest: float = 5.0
    """Size that a box cannot grow above."""


class Scoring(Protocol):
    """The two halves of a siamese network."""

    def features(self, crop: Tensor) -> Tensor:
        """Compute features of crops."""
        ...

    def compare(self, template: Tensor, search: Tensor) -> Tensor:
        """Compute scores from features."""
        ...


class Siamese:
    """A tracker, see `widthwise.tracking.running.Tracker`, that never updates its template.

    Args:
        network: In evaluation mode. Not changed.
        settings: How scores move the box.
        device: Where the network is.
    """

    def __init__(
        self,
        network: Scoring,
        settings: SiameseSettings | None = None,
        *,
        device: torch.device | None = None,
    ) -> None:
        self._network = network
        self._device = device
        self.settings = settings or SiameseSettings()
        steps = torch.arange(self.settings.scales) - self.settings.scales // 2
        self._factors = self.settings.scale_step ** steps.double()
        self._penalties = torch.where(steps == 0, 1.0, self.settings.scale_penalty)
        self.score = float("nan")
        """Largest score in the last frame, as a share in ``[0, 1]``; NaN before the second."""

    def start(self, frame: Tensor, box: Tensor) -> None:
        """Compute the features of the target; see `Tracker`."""
        self.score = float("nan")
        self._centre = box[:2] + box[2:] / 2
        self._first_size = self._size = box[2:].clone()
        self._side = context_side(*self._size.tolist())
        crop = cut(frame, self._centre.tolist(), [self._side], size=TEMPLATE_SIDE)
        with torch.inference_mode():
            self._template = self._network.features(crop.to(self._device))

    def follow(self, frame: Tensor) -> Tensor:
        """Search around the last place, at some sizes; see `Tracker`."""
        settings = self.settings
        sides = self._side * SEARCH_SIDE / TEMPLATE_SIDE * self._factors
        crops = cut(frame, self._centre.tolist(), sides.tolist(), size=SEARCH_SIDE)
        with torch.inference_mode():
            template = self._template.expand(len(crops), -1, -1, -1)
            found = self._network.features(crops.to(self._device))
            scores = self._network.compare(template, found).float().cpu()
        large = functional.interpolate(
            scores, scale_factor=_UPSAMPLED, mode="bicubic", align_corners=False
        )[:, 0]
        best = int((large.amax((1, 2)) * self._penalties.to(large)).argmax())
        self.score = float(scores[best].max().sigmoid())
        self._centre = self._centre + _displacement(large[best], settings.window) * (
            sides[best] / SEARCH_SIDE
        )
        height, width = frame.shape[1:]
        self._centre = self._centre.clamp(min=0).minimum(torch.tensor([width, height]).double())
        self._resize(float(self._factors[best]))
        return torch.cat([self._centre - self._size / 2, self._size])

    def _resize(self, factor: float) -> None:
        settings = self.settings
        factor = 1 + settings.scale_rate * (factor - 1)
        so_far = float(self._size[0] / self._first_size[0])
        factor = min(max(so_far * factor, settings.smallest), settings.largest) / so_far
        self._size = self._size * factor
        self._side *= factor


def _displacement(scores: Tensor, share: float) -> Tensor:
    """Read where the peak is, from the middle, as x and y in pixels of the search crop."""
    scores = scores.double() - scores.min()
    scores = scores / scores.sum().clamp(min=1e-12)
    hann = torch.hann_window(len(scores), periodic=False, dtype=torch.float64)
    window = torch.outer(hann, hann)
    mixed = (1 - share) * scores + share * window / window.sum()
    row, column = divmod(int(mixed.argmax()), scores.shape[1])
    middle = (len(scores) - 1) / 2
    return torch.tensor([column - middle, row - middle]).double() * STRIDE / _UPSAMPLED
