"""Boxes made better step by step, by the overlap that the box branch predicts for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class RefinementSettings:
    """How boxes are refined."""

    random_starts: int = 9
    """Boxes to start from, besides the given one."""
    centre_noise: float = 0.05
    """How far their centres are moved at most, as a share of the root of the box's area."""
    size_noise: float = 0.25
    """How much their sides differ at most, likewise."""
    smallest_side: float = 1 / 3
    """Of a start, as a share of the given box's shorter side."""
    steps: int = 5
    """Steps up the gradient; with 0, boxes stay as they are."""
    step_length: float = 1.0
    """In units of the box's sides."""
    largest_aspect: float = 6.0
    """Of sides to each other; a narrower box is dropped."""
    best: int = 3
    """Boxes that the result is the mean of."""


def refined(
    box: Tensor,
    overlaps: Callable[[Tensor], Tensor],
    settings: RefinementSettings,
    generator: torch.Generator,
) -> Tensor | None:
    """Refine a box, and others near it, and average the best.

    Args:
        box: x, y, w, h, shape ``[4]``, sides above 0. Not changed.
        overlaps: Predicts, for boxes ``[n, 4]``, numbers ``[n]`` that are higher for better boxes.
        settings: How far to go.
        generator: What starts are drawn from, on the CPU.

    Returns:
        A box, shape ``[4]``; None if no box is left.

    Example:
        >>> wanted = torch.tensor([10.0, 10, 22, 20])
        >>> found = refined(
        ...     torch.tensor([12.0, 9, 20, 20]),
        ...     lambda boxes: -(boxes - wanted).square().sum(1) / 1000,
        ...     RefinementSettings(random_starts=0, best=1, steps=100),
        ...     torch.Generator(),
        ... )
        >>> torch.allclose(found, wanted, atol=0.1)
        True
    """
    if not settings.steps:
        return box
    boxes = _starts(box, settings, generator)
    predicted = boxes.new_zeros(len(boxes))
    for _ in range(settings.steps):
        with torch.enable_grad():
            at = boxes.detach().requires_grad_()
            found = overlaps(at)
            (gradient,) = torch.autograd.grad(found.sum(), at)
        # As published, boxes are ranked by what they were before the last step.
        predicted = found.detach()
        boxes = boxes + settings.step_length * gradient * boxes[:, 2:].repeat(1, 2)
        boxes[:, 2:].clamp_(min=1)
    aspect = boxes[:, 2] / boxes[:, 3]
    kept = (aspect <= settings.largest_aspect) & (aspect >= 1 / settings.largest_aspect)
    kept &= boxes.isfinite().all(1)
    boxes, predicted = boxes[kept], predicted[kept]
    if not len(boxes):
        return None
    return boxes[predicted.topk(min(settings.best, len(boxes))).indices].mean(0)


def _starts(box: Tensor, settings: RefinementSettings, generator: torch.Generator) -> Tensor:
    noise = 2 * torch.rand(settings.random_starts, 4, generator=generator).to(box) - 1
    noise = noise * box[2:].prod().sqrt()
    centre = box[:2] + box[2:] / 2 + settings.centre_noise * noise[:, :2]
    size = box[2:] + settings.size_noise * noise[:, 2:]
    size = size.clamp(min=float(box[2:].min()) * settings.smallest_side)
    return torch.cat([box[None], torch.cat([centre - size / 2, size], dim=1)])
