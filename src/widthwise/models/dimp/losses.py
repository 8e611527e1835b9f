"""What DiMP is trained by: scores near a bell on the target, and overlaps of disturbed boxes.

Bhat et al., "Learning Discriminative Model Prediction for Tracking" (ICCV 2019, arXiv:1904.07220),
with the constants of its published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from widthwise.models.dimp.classifier import FILTER_SIZE
from widthwise.models.dimp.filter_optimizer import LABEL_SIGMA, cell_distance
from widthwise.models.dimp.network import STRIDES, DimpOutput
from widthwise.tracking.boxes import overlap

_NEAR = 0.05
"""Label below which a cell counts as background."""
_SPREADS = (0.01, 0.05, 0.1, 0.2, 0.3)
"""How much boxes are disturbed, as shares of the root of their area."""
_TRIES = 100
_CALMER = 0.9
"""From one try to the next."""
_SMALLEST_OVERLAP = 0.1


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """How much each part of the loss counts."""

    boxes: float = 1.0
    """The predicted overlaps."""
    first: float = 100.0
    """Scores by the filter before its first step."""
    middle: float = 400.0
    """Scores by the filters between, their mean."""
    last: float = 100.0
    """Scores by the filter after its last step."""


class DimpLoss(NamedTuple):
    """The loss of a batch, and two of its parts without their weights."""

    total: Tensor
    """What is minimised."""
    scores: Tensor
    """Of the scores by the last filter."""
    boxes: Tensor
    """Of the predicted overlaps."""


def dimp_loss(
    output: DimpOutput,
    targets: Tensor,
    proposals: Tensor,
    *,
    weights: LossWeights | None = None,
) -> DimpLoss:
    """Compare what the network makes of search frames with where the target is.

    Args:
        output: Of the network, given the proposals as the boxes to be judged.
        targets: The target's boxes, ``[batch, frames, 4]``, in pixels of the crops.
        proposals: Of `box_proposals`, ``[batch, frames, boxes, 4]``.
        weights: None for the published ones.

    Returns:
        Scalars.
    """
    weights = weights or LossWeights()
    scores = output.scores
    labels = score_labels(targets, scores.shape[-2], scores.shape[-1]).to(scores.dtype)
    parts = [classification_loss(each, labels) for each in scores.unbind(1)]
    boxes = box_loss(output.overlaps, targets, proposals)
    total = weights.boxes * boxes + weights.last * parts[-1]
    if len(parts) > 1:
        total = total + weights.first * parts[0]
    if len(parts) > 2:
        total = total + weights.middle * torch.stack(parts[1:-1]).mean()
    return DimpLoss(total, parts[-1], boxes)


def score_labels(boxes: Tensor, rows: int, columns: int) -> Tensor:
    """Draw a bell over each target.

    Args:
        boxes: ``[batch, frames, 4]``, in pixels of the crops.
        rows: Of a score map.
        columns: The same.

    Returns:
        ``[batch, frames, rows, columns]``, 1 at a target's centre.

    Example:
        >>> box = torch.tensor([[[24.0, 8.0, 16.0, 16.0]]])
        >>> score_labels(box, 3, 4)[0, 0, 1]
        tensor([0.0847, 0.5394, 1.0000, 0.5394])
    """
    distance = cell_distance(boxes, rows, columns, stride=STRIDES[1], size=FILTER_SIZE)
    return torch.exp(-0.5 * (distance / LABEL_SIGMA) ** 2)


def classification_loss(scores: Tensor, labels: Tensor) -> Tensor:
    """Compute the mean squared error of scores; on background, only of those above zero.

    Args:
        scores: Any shape.
        labels: Of the same shape.

    Returns:
        A scalar.

    Example:
        >>> classification_loss(torch.tensor([-3.0, 0.5, 0.5]), torch.tensor([0.0, 0.0, 1.0]))
        tensor(0.1667)
    """
    near = labels >= _NEAR
    error = torch.where(near, scores - labels, scores.clamp(min=0))
    return (error * error).mean()


def box_loss(predicted: Tensor, targets: Tensor, proposals: Tensor) -> Tensor:
    """Compute the mean squared error of predicted overlaps, on their scale of -1 to 1.

    Args:
        predicted: ``[batch, frames, boxes]``.
        targets: ``[batch, frames, 4]``.
        proposals: ``[batch, frames, boxes, 4]``.

    Returns:
        A scalar.
    """
    wanted = targets.unsqueeze(2).expand_as(proposals)
    shared = overlap(wanted.reshape(-1, 4), proposals.reshape(-1, 4)).to(predicted)
    error = predicted - (2 * shared - 1).reshape(predicted.shape)
    return (error * error).mean()


def box_proposals(boxes: Tensor, *, count: int = 8, generator: torch.Generator) -> Tensor:
    """Disturb boxes, as the box branch is trained with.

    Centre and size get independent noise of one of five strengths, and are rounded to pixels; a box
    that hardly meets the target any more is drawn again, with less noise.

    Args:
        boxes: ``[..., 4]``: x, y, w, h in pixels of the crops. Not changed.
        count: Proposals for each of them.
        generator: What is drawn from, on the CPU.

    Returns:
        ``[..., count, 4]``, no side shorter than a pixel.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> box_proposals(torch.tensor([[40.0, 40, 20, 30]]), generator=generator).shape
        torch.Size([1, 8, 4])
    """
    target = boxes.detach().cpu().double().reshape(-1, 1, 4).expand(-1, count, 4).reshape(-1, 4)
    middle = torch.cat([target[:, :2] + target[:, 2:] / 2, target[:, 2:]], dim=1)
    picked = torch.randint(len(_SPREADS), (len(target),), generator=generator)
    spread = torch.tensor(_SPREADS).double()[picked] * target[:, 2:].prod(1).sqrt()
    found = target.clone()
    open_ = torch.arange(len(target))
    for _ in range(_TRIES):
        noise = torch.randn(len(open_), 4, generator=generator, dtype=torch.float64)
        moved = middle[open_] + noise * spread[open_, None]
        size = moved[:, 2:].clamp(min=1)
        drawn = torch.cat([moved[:, :2] - size / 2, size], dim=1).round()
        drawn[:, 2:].clamp_(min=1)
        meets = overlap(target[open_], drawn) > _SMALLEST_OVERLAP
        found[open_[meets]] = drawn[meets]
        open_ = open_[~meets]
        if not len(open_):
            break
        spread[open_] *= _CALMER
    return found.reshape(*boxes.shape[:-1], count, 4).to(boxes)
