"""Tracking with a correlation filter on hand-made features: nothing is learned beforehand.

The closed form of discriminative correlation filters (Henriques et al., "High-Speed Tracking with
Kernelized Correlation Filters", TPAMI 2015, linear kernel) over colours and gradients.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from widthwise.tracking.crops import context_side, cut

_SIDE = 64
"""Height and width of crops, in pixels."""
_CONTEXT = 1.25
"""Side of a crop, as a multiple of the usual context."""
_RIDGE = 1e-4
_SIGMA = 2.5
"""Width of the wanted response, in pixels of the crop."""
_STEP = 1.0275
_PENALTY = 0.9925
_DIRECTIONS = 4


class CorrelationFilter:
    """A tracker, see `widthwise.tracking.running.Tracker`.

    Args:
        rate: Share of every new frame in the filter.
    """

    def __init__(self, rate: float = 0.02) -> None:
        self.rate = rate
        cells = torch.fft.fftfreq(_SIDE).double() * _SIDE
        distance = cells[:, None] ** 2 + cells[None, :] ** 2
        self._wanted = torch.fft.rfft2(torch.exp(-distance / (2 * _SIGMA**2)))
        hann = torch.hann_window(_SIDE, dtype=torch.float64)
        self._window = torch.outer(hann, hann)
        self._factors = _STEP ** torch.tensor([-1.0, 0.0, 1.0]).double()
        self._penalties = torch.tensor([_PENALTY, 1.0, _PENALTY]).double()

    def start(self, frame: Tensor, box: Tensor) -> None:
        """Fit the filter to the first frame; see `Tracker`."""
        self._centre = box[:2] + box[2:] / 2
        self._first_size = self._size = box[2:].clone()
        self._side = _CONTEXT * context_side(*self._size.tolist())
        self._numerator, self._energy = self._fit(frame)

    def follow(self, frame: Tensor) -> Tensor:
        """Move to the highest response, then update the filter; see `Tracker`."""
        sides = self._side * self._factors
        spectra = self._spectra(frame, sides)
        found = (self._numerator.conj() * spectra).sum(1) / (self._energy + _RIDGE)
        responses = torch.fft.irfft2(found, s=(_SIDE, _SIDE))
        best = int((responses.amax((1, 2)) * self._penalties).argmax())
        row, column = divmod(int(responses[best].argmax()), _SIDE)
        moved = torch.tensor([_signed(column), _signed(row)]).double()
        height, width = frame.shape[1:]
        self._centre = self._centre + moved * sides[best] / _SIDE
        self._centre = self._centre.clamp(min=0).minimum(torch.tensor([width, height]).double())
        ratio = float(self._size[0] * self._factors[best] / self._first_size[0])
        if 0.2 <= ratio <= 5:
            self._size = self._size * self._factors[best]
            self._side *= float(self._factors[best])
        numerator, energy = self._fit(frame)
        self._numerator = torch.lerp(self._numerator, numerator, self.rate)
        self._energy = torch.lerp(self._energy, energy, self.rate)
        return torch.cat([self._centre - self._size / 2, self._size])

    def _fit(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        spectrum = self._spectra(frame, torch.tensor([self._side]))[0]
        return self._wanted.conj() * spectrum, (spectrum.abs() ** 2).sum(0)

    def _spectra(self, frame: Tensor, sides: Tensor) -> Tensor:
        crops = cut(frame, self._centre.tolist(), sides.tolist(), size=_SIDE).double()
        return torch.fft.rfft2(_features(crops) * self._window)


def _features(crops: Tensor) -> Tensor:
    """Colours, and the strength of gradients in some directions: ``[n, 3 + 4, s, s]``."""
    grey = functional.pad(crops.mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")[:, 0]
    across = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    angles = torch.arange(_DIRECTIONS) * torch.pi / _DIRECTIONS
    along = [
        (across * torch.cos(angle) + down * torch.sin(angle)).abs() * 2 for angle in angles.double()
    ]
    return torch.cat([crops - crops.mean((2, 3), keepdim=True), torch.stack(along, dim=1)], dim=1)


def _signed(cell: int) -> int:
    """Read a place on a ring as a distance from its origin."""
    return cell - _SIDE if cell >= _SIDE // 2 else cell
