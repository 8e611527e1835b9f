"""Refinement climbs what is predicted, and drops boxes that no target has."""

from __future__ import annotations

import torch
from torch import Tensor

from widthwise.models.dimp.box_head import BoxHead, Levels
from widthwise.tracking.dimp.refinement import RefinementSettings, refined

START = torch.tensor([20.0, 24.0, 20.0, 24.0])


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def true_overlap(boxes: Tensor, wanted: Tensor) -> Tensor:
    """The overlap, with gradients."""
    start = torch.maximum(boxes[:, :2], wanted[:2])
    stop = torch.minimum(boxes[:, :2] + boxes[:, 2:], wanted[:2] + wanted[2:])
    shared = (stop - start).clamp(min=0).prod(1)
    return shared / (boxes[:, 2:].prod(1) + wanted[2:].prod() - shared)


def test_true_overlap_is_increased() -> None:
    """With a predictor that is never wrong the box comes nearer to the target."""
    wanted = torch.tensor([24.0, 21.0, 24.0, 24.0])
    before = true_overlap(START[None], wanted)
    found = refined(START, lambda boxes: true_overlap(boxes, wanted), RefinementSettings(), draw())
    assert found is not None
    assert true_overlap(found[None], wanted) > before + 0.1


def test_prediction_of_the_branch_is_increased() -> None:
    """What a box branch predicts is higher for the refined box than for the given one."""
    torch.manual_seed(0)
    head = BoxHead(6, 8, strides=(8, 16), width=16).eval()
    maps = Levels(torch.randn(1, 6, 8, 8), torch.randn(1, 8, 4, 4))
    with torch.no_grad():
        modulation, embedded = head.modulation(maps, START[None]), head.embedded(maps)
        calls: list[Tensor] = []

        def predicted(boxes: Tensor) -> Tensor:
            calls.append(head.overlaps(modulation, embedded, boxes[None])[0])
            return calls[-1]

        settings = RefinementSettings(random_starts=0, steps=20, step_length=0.5)
        found = refined(START, predicted, settings, draw())
        assert found is not None
        after = predicted(found[None])
    assert after > calls[0] + 1e-3
    assert not found.requires_grad


def test_odd_shapes_are_dropped() -> None:
    """Boxes more than six times as long as wide do not count; if all are, there is no result."""
    long = torch.tensor([20.0, 24.0, 70.0, 10.0])
    alone = RefinementSettings(random_starts=0, step_length=0.0)
    assert refined(long, lambda boxes: boxes.sum(1), alone, draw()) is None
    several = RefinementSettings(random_starts=30, step_length=0.0, best=1)
    found = refined(long, lambda boxes: boxes[:, 2] / boxes[:, 3], several, draw())
    assert found is not None
    assert 5 < found[2] / found[3] <= 6


def test_starts_are_near() -> None:
    """Random boxes keep within their bounds, and no side is below a third of the shorter one."""
    seen: list[Tensor] = []

    def predicted(boxes: Tensor) -> Tensor:
        seen.append(boxes.detach())
        return boxes.sum(1)

    box = torch.tensor([20.0, 24.0, 90.0, 10.0])
    refined(box, predicted, RefinementSettings(random_starts=400, steps=1), draw())
    boxes, root = seen[0], 30.0
    assert torch.equal(boxes[0], box)
    moved = (boxes[:, :2] + boxes[:, 2:] / 2 - torch.tensor([65.0, 29.0])).abs().amax(0) / root
    assert (moved <= 0.0501).all()
    assert (moved > 0.045).all()
    assert boxes[:, 2].max() <= 90 + 0.2501 * root
    torch.testing.assert_close(boxes[:, 3].min(), torch.tensor(10 / 3))


def test_the_best_are_averaged() -> None:
    """The result is the mean of the three boxes whose prediction was highest."""
    seen: list[Tensor] = []

    def predicted(boxes: Tensor) -> Tensor:
        seen.append(boxes.detach())
        return boxes[:, 0]

    settings = RefinementSettings(steps=1, step_length=0.0)
    found = refined(START, predicted, settings, draw())
    best = seen[0][seen[0][:, 0].topk(3).indices].mean(0)
    torch.testing.assert_close(found, best)


def test_no_steps_change_nothing() -> None:
    """Without steps the box is what it was."""
    settings = RefinementSettings(steps=0)
    found = refined(START, lambda boxes: boxes.sum(1), settings, draw())
    assert found is not None
    assert torch.equal(found, START)
