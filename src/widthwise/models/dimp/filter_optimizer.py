"""The inner optimiser of DiMP: steepest descent on a target filter, with a learned loss.

Bhat et al., "Learning Discriminative Model Prediction for Tracking" (ICCV 2019, arXiv:1904.07220).
Each residual is the score of a cell, hinged where the target is far away, minus a label; label,
mask and weight are learned functions of the distance from the target's centre. The step length is
the best one along the gradient by the Gauss-Newton approximation of the loss.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from widthwise.models.dimp.precision import at_least_single, without_autocast

KNOTS = 100
SPACING = 0.1  # cells from knot to knot
LABEL_SIGMA = 0.9  # cells
_SMALLEST_REGULARISATION = 1e-3
_SMALLEST_CURVATURE = 1e-8


def apply_filter(features: Tensor, filters: Tensor) -> Tensor:
    """Correlate the frames of each sequence with its filter, half a filter padded on every side.

    All taps of a filter are one matrix product; their maps are then shifted and added.

    Args:
        features: ``[batch, frames, channels, height, width]``.
        filters: ``[batch, channels, size, size]``.

    Returns:
        Scores ``[batch, frames, rows, columns]``: one row and column more than the features have
        if the size is even.

    Example:
        >>> import torch
        >>> apply_filter(torch.zeros(2, 3, 8, 6, 6), torch.zeros(2, 8, 4, 4)).shape
        torch.Size([2, 3, 7, 7])
    """
    size = filters.shape[-1]
    height, width = features.shape[-2:]
    with without_autocast(features):
        taps = filters.flatten(2).flip(2).transpose(1, 2).unsqueeze(1) @ features.flatten(3)
    rows, columns = (length + 2 * (size // 2) - size + 1 for length in (height, width))
    scores = F.fold(taps.flatten(0, 1), (rows, columns), size, padding=size - 1 - size // 2)
    return scores.reshape(*features.shape[:2], rows, columns)


def transpose_filter(features: Tensor, scores: Tensor, size: int) -> Tensor:
    """Multiply scores by the transpose of the map from a filter to them.

    Args:
        features: ``[batch, frames, channels, height, width]``.
        scores: ``[batch, frames, rows, columns]``, as `apply_filter` returns.
        size: Rows and columns of the filter.

    Returns:
        ``[batch, channels, size, size]``, summed over frames.
    """
    patches = F.unfold(scores.flatten(0, 1).unsqueeze(1), size, padding=size - 1 - size // 2)
    patches = patches.reshape(*scores.shape[:2], size * size, -1)
    taps = (features.flatten(3) @ patches.transpose(2, 3)).sum(1)
    return taps.flip(2).unflatten(2, (size, size))


class DistanceProfile(nn.Module):
    """A learned piecewise linear function of a distance, constant beyond the last knot.

    Args:
        values: The function at each knot, `SPACING` cells apart, from distance 0 on.
    """

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)

    def forward(self, distance: Tensor) -> Tensor:
        place = distance / SPACING
        knots = torch.arange(len(self.values), dtype=place.dtype, device=place.device)
        offset = place.unsqueeze(-1) - knots
        shares = (1 - offset.abs()).clamp(min=0)
        beyond = (1 + offset[..., -1:]).clamp(0, 1)
        return torch.cat([shares[..., :-1], beyond], dim=-1) @ self.values


class FilterOptimizer(nn.Module):
    """Improves the filter of each sequence on frames with known boxes.

    Gradients flow through all steps, to the features, the first filter and the learned curves.

    Args:
        stride: Pixels of the image per feature cell.
        iterations: Steps of descent; may be set later, or given in a call.

    Example:
        >>> import torch
        >>> optimizer = FilterOptimizer(stride=16, iterations=2)
        >>> boxes = torch.tensor([[[30.0, 30.0, 20.0, 20.0]]])
        >>> filters = optimizer(torch.zeros(1, 8, 4, 4), torch.randn(1, 1, 8, 6, 6), boxes)
        >>> len(filters), filters[-1].shape
        (3, torch.Size([1, 8, 4, 4]))
    """

    def __init__(self, *, stride: float, iterations: int = 5) -> None:
        super().__init__()
        self.stride = stride
        self.iterations = iterations
        distance = torch.arange(KNOTS) * SPACING
        bell = torch.exp(-0.5 * (distance / LABEL_SIGMA) ** 2)
        self.label = DistanceProfile(bell - bell.min())
        self.mask = DistanceProfile(3 * torch.tanh(2 - distance))
        self.weight = DistanceProfile(torch.ones(KNOTS))
        self.regularisation = nn.Parameter(torch.tensor(0.1))
        self.log_step = nn.Parameter(torch.tensor(math.log(0.9)))

    def forward(
        self,
        filters: Tensor,
        features: Tensor,
        boxes: Tensor,
        *,
        sample_weights: Tensor | None = None,
        iterations: int | None = None,
    ) -> list[Tensor]:
        """Take steps of steepest descent.

        Args:
            filters: Where to start, ``[batch, channels, size, size]``.
            features: ``[batch, frames, channels, height, width]``.
            boxes: ``[batch, frames, 4]``, x, y, w, h in pixels of the frame.
            sample_weights: ``[batch, frames]``; None for the same weight each, 1 in sum.
            iterations: Steps; None for as many as the module has.

        Returns:
            The filter before the first step and after each, in float32 or what is finer.
        """
        filters, features = at_least_single(filters), at_least_single(features)
        with without_autocast(features):
            count = self.iterations if iterations is None else iterations
            return self._descend(filters, features, boxes.to(features.dtype), sample_weights, count)

    def _descend(
        self,
        filters: Tensor,
        features: Tensor,
        boxes: Tensor,
        sample_weights: Tensor | None,
        iterations: int,
    ) -> list[Tensor]:
        size = filters.shape[-1]
        rows, columns = (length + 2 * (size // 2) - size + 1 for length in features.shape[-2:])
        distance = cell_distance(boxes, rows, columns, stride=self.stride, size=size)
        label, mask = self.label(distance), torch.sigmoid(self.mask(distance))
        weight = self.weight(distance) * _shares(sample_weights, distance).sqrt()
        floor = _SMALLEST_REGULARISATION**2
        decay = (self.regularisation**2).clamp(min=floor)
        found = [filters]
        for _ in range(iterations):
            filters = found[-1]
            scores = apply_filter(features, filters)
            hinged = 0.5 * (1 - mask) * scores.abs() + 0.5 * (1 + mask) * scores
            slope = weight * (0.5 * (1 - mask) * scores.sign() + 0.5 * (1 + mask))
            residual = weight * (hinged - label)
            gradient = transpose_filter(features, slope * residual, size) + decay * filters
            change = slope * apply_filter(features, gradient)
            squared = (gradient * gradient).sum((1, 2, 3))
            curvature = (change * change).sum((1, 2, 3)) + decay * squared
            length = squared / curvature.clamp(min=_SMALLEST_CURVATURE)
            step = self.log_step.exp() * length[:, None, None, None]
            found.append(filters - step * gradient)
        return found


def cell_distance(boxes: Tensor, rows: int, columns: int, *, stride: float, size: int) -> Tensor:
    """Compute how far each cell of a score map is from the centre of a box.

    Args:
        boxes: ``[batch, frames, 4]``, x, y, w, h in pixels of the frame.
        rows: Of the score map.
        columns: The same.
        stride: Pixels per cell.
        size: Rows and columns of the filter that makes the scores.

    Returns:
        ``[batch, frames, rows, columns]``, in cells.
    """
    # An odd filter's scores lie in the middle of feature cells, an even one's between them.
    centre = (boxes[..., :2] + boxes[..., 2:] / 2) / stride - (size % 2) / 2
    x = torch.arange(columns, dtype=boxes.dtype, device=boxes.device) - centre[..., :1]
    y = torch.arange(rows, dtype=boxes.dtype, device=boxes.device) - centre[..., 1:]
    return (x.unsqueeze(-2) ** 2 + y.unsqueeze(-1) ** 2).sqrt()


def _shares(weights: Tensor | None, maps: Tensor) -> Tensor:
    if weights is None:
        return maps.new_full((maps.shape[0], maps.shape[1], 1, 1), 1 / maps.shape[1])
    return weights[:, :, None, None].to(maps.dtype)
