"""The losses of DiMP by their formulas, its training boxes, and that training lowers the loss."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from widthwise.models.dimp.losses import (
    LossWeights,
    box_loss,
    box_proposals,
    classification_loss,
    dimp_loss,
    score_labels,
)
from widthwise.models.dimp.network import Dimp, DimpOutput
from widthwise.tracking.boxes import overlap


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_background_is_hinged() -> None:
    """Where the label is below 0.05, a negative score is no error and the target is zero."""
    scores = torch.tensor([-2.0, 0.3, 0.3, -1.0], requires_grad=True)
    loss = classification_loss(scores, torch.tensor([0.04, 0.04, 0.05, 0.8]))
    torch.testing.assert_close(loss.detach(), torch.tensor((0.3**2 + 0.25**2 + 1.8**2) / 4))
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient[0] == 0


def test_labels_peak_at_the_target() -> None:
    """The bell is 1 at the cell of the target's centre, with a deviation of 0.9 cells."""
    boxes = torch.tensor([[[60.0, 30, 40, 36]]])
    labels = score_labels(boxes, 7, 8)[0, 0]
    assert divmod(int(labels.argmax()), 8) == (3, 5)
    torch.testing.assert_close(labels[3, 5], torch.tensor(1.0))
    torch.testing.assert_close(labels[1, 4], torch.exp(torch.tensor(-5 / (2 * 0.81))))


def test_proposals_obey_their_bounds() -> None:
    """Each is a box of whole pixels that meets its target; noise comes in very different sizes."""
    boxes = torch.tensor(
        [[[40.0, 50, 30, 20], [-9, 3, 2.5, 60]], [[5, 5, 1.2, 1.2], [0, 0, 90, 9]]]
    )
    found = box_proposals(boxes, count=200, generator=generator())
    assert found.shape == (2, 2, 200, 4)
    assert torch.equal(found[0], found[0].round())
    assert (found[..., 2:] >= 1).all()
    shared = overlap(boxes.unsqueeze(2).expand_as(found).reshape(-1, 4), found.reshape(-1, 4))
    assert (shared > 0.1).all()
    assert shared[:200].quantile(0.9) > 0.8
    assert shared[:200].quantile(0.1) < 0.5
    again = box_proposals(boxes, count=200, generator=generator())
    assert torch.equal(found, again)
    assert not torch.equal(found, box_proposals(boxes, count=200, generator=generator(1)))


def test_noise_gets_less_until_boxes_meet() -> None:
    """Even of a target that noise of its size nearly always misses, most proposals are not it."""
    thin = torch.tensor([50.0, 0, 1, 4e6])
    found = box_proposals(thin, count=500, generator=generator())
    given_up = (found == thin).all(1).float().mean()
    assert given_up < 0.05


def test_box_loss_is_zero_for_the_true_overlaps() -> None:
    """Predicted is twice the overlap minus one: 1 for the target's own box."""
    targets = torch.tensor([[[10.0, 10, 20, 20]]])
    proposals = torch.tensor([[[[10.0, 10, 20, 20], [20, 10, 20, 20], [90, 90, 5, 5]]]])
    right = torch.tensor([[[1.0, -1 / 3, -1.0]]])
    torch.testing.assert_close(box_loss(right, targets, proposals), torch.tensor(0.0))
    torch.testing.assert_close(box_loss(right + 0.5, targets, proposals), torch.tensor(0.25))


@pytest.mark.parametrize(("filters", "expected"), [(1, 100), (2, 200), (6, 600)])
def test_every_filter_counts(filters: int, expected: float) -> None:
    """With six filters each counts 100 times; with fewer, those that are there."""
    targets = torch.tensor([[[30.0, 30, 20, 20]]])
    labels = score_labels(targets, 6, 6)
    # An error of one where the target is, and none elsewhere, in every map alike.
    scores = labels.unsqueeze(1).expand(1, filters, 1, 6, 6) + (labels >= 0.05)
    scores = torch.where(labels >= 0.05, scores, -1.0)
    output = DimpOutput(scores, torch.full((1, 1, 1), 1.0))
    loss = dimp_loss(output, targets, targets.unsqueeze(2))
    share = (labels >= 0.05).float().mean()
    torch.testing.assert_close(loss.total, expected * share)
    torch.testing.assert_close(loss.scores, share)
    assert loss.boxes == 0
    only_boxes = LossWeights(boxes=1, first=0, middle=0, last=0)
    assert dimp_loss(output, targets, targets.unsqueeze(2), weights=only_boxes).total == 0


def sequences(count: int, frames: int, side: int) -> tuple[Tensor, Tensor]:
    """Striped squares of changing colour on noise, and their boxes."""
    draw = generator()
    crops = 0.3 * torch.rand(count, frames, 3, side, side, generator=draw)
    boxes = torch.zeros(count, frames, 4)
    for sequence in range(count):
        pattern = torch.rand(3, 1, 1, generator=draw).expand(3, 20, 20).clone()
        pattern[:, ::4] = 1
        for frame in range(frames):
            x, y = (int(each) for each in torch.randint(12, side - 32, (2,), generator=draw))
            crops[sequence, frame, :, y : y + 20, x : x + 20] = pattern
            boxes[sequence, frame] = torch.tensor([x, y, 20.0, 20.0])
    return crops, boxes


def test_training_lowers_the_loss() -> None:
    """A few steps of Adam with ResNet-18 lower both parts of the loss."""
    torch.manual_seed(0)
    network = Dimp("resnet18", classifier_width=32, box_width=32).train()
    crops, boxes = sequences(3, 4, 64)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    draw, losses = generator(), []
    for _ in range(10):
        proposals = box_proposals(boxes[:, 2:], generator=draw)
        output = network(crops[:, :2], boxes[:, :2], crops[:, 2:], proposals)
        loss = dimp_loss(output, boxes[:, 2:], proposals)
        optimizer.zero_grad()
        loss.total.backward()
        optimizer.step()
        losses.append([each.item() for each in loss])
    first, last = (torch.tensor(part).mean(0) for part in (losses[:3], losses[-3:]))
    assert (last < 0.8 * first).all(), (first, last)
    assert all(each.grad is not None for each in network.parameters())
