"""The box branch: which frames and boxes its predictions depend on, and its gradients."""

from __future__ import annotations

import torch
from torch import Tensor

from widthwise.models.dimp.box_head import BoxHead, Levels

BOXES = torch.tensor([[[20.0, 24, 20, 18], [30, 20, 24, 30]], [[10.0, 12, 28, 22], [4, 9, 30, 9]]])


def head() -> BoxHead:
    """A narrow branch in double precision whose predictions are far from zero."""
    torch.manual_seed(0)
    return BoxHead(6, 8, strides=(8, 16), width=16).double().eval()


def maps(seed: int = 0) -> Levels:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((2, 6, 8, 8), (2, 8, 4, 4))
    return Levels(*(torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes))


def predicted(branch: BoxHead, reference: Levels, frame: Levels, boxes: Tensor) -> Tensor:
    modulation = branch.modulation(reference, BOXES[:, 0].double())
    return branch.overlaps(modulation, branch.embedded(frame), boxes)


def test_gradients_for_boxes() -> None:
    """Gradients for all four numbers of each box equal numerical ones, and are not zero."""
    branch = head()
    boxes = BOXES.double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda given: predicted(branch, maps(), maps(1), given), (boxes,)
    )
    (gradient,) = torch.autograd.grad(predicted(branch, maps(), maps(1), boxes).sum(), boxes)
    assert (gradient.abs().amax(-1) > 0).all()


def test_each_box_is_judged_alone() -> None:
    """Boxes and frames of a call do not know each other; the target that was seen matters."""
    branch, boxes = head(), BOXES.double()
    together = predicted(branch, maps(), maps(1), boxes)
    assert together.shape == (2, 2)
    turned = predicted(branch, maps(), maps(1), boxes.flip(1)).flip(1)
    torch.testing.assert_close(turned, together)
    first = [Levels(*(level[:1] for level in each)) for each in (maps(), maps(1))]
    modulation = branch.modulation(first[0], boxes[:1, 0])
    alone = branch.overlaps(modulation, branch.embedded(first[1]), boxes[:1])
    torch.testing.assert_close(alone, together[:1])
    assert ((predicted(branch, maps(2), maps(1), boxes) - together).abs() > 1e-6).all()


def test_both_levels_are_read() -> None:
    """A change of either map, in the first frame or in this one, changes the prediction."""
    branch, boxes = head(), BOXES.double()
    before = predicted(branch, maps(), maps(1), boxes)
    for level in range(2):
        for place in range(2):
            given = [maps(), maps(1)]
            changed = list(given[place])
            changed[level] = maps(3)[level]
            given[place] = Levels(*changed)
            assert ((predicted(branch, *given, boxes) - before).abs() > 1e-6).all()
