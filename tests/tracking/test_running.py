"""Crops and trackers, on a coloured square that moves over noise."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from widthwise.errors import DataError
from widthwise.models.siamese import SiameseTracker
from widthwise.tracking.correlation import CorrelationFilter
from widthwise.tracking.crops import context_side, cut
from widthwise.tracking.running import Still, run_tracker, steps_of
from widthwise.tracking.siamese import Siamese


def video(steps: int) -> tuple[list[Tensor], Tensor]:
    """A checked square of 24 pixels that goes right by 3 and down by 2 per frame, and its boxes."""
    noise = torch.Generator().manual_seed(0)
    ground = torch.randint(90, 120, (3, 120, 160), generator=noise, dtype=torch.uint8)
    square = torch.randint(0, 256, (3, 24, 24), generator=noise, dtype=torch.uint8)
    frames, boxes = [], []
    for step in range(steps):
        x, y = 30 + 3 * step, 30 + 2 * step
        frame = ground.clone()
        frame[:, y : y + 24, x : x + 24] = square
        frames.append(frame)
        boxes.append([x, y, 24, 24])
    return frames, torch.tensor(boxes).double()


def test_cut_of_the_frame_s_own_pixels() -> None:
    """A square on whole pixels, at its own size, is the frame's pixels."""
    frame = torch.randint(0, 256, (3, 30, 40), dtype=torch.uint8)
    found = cut(frame, (16, 12), [8], size=8)[0] * 255
    torch.testing.assert_close(found, frame[:, 8:16, 12:20].float(), atol=1e-2, rtol=0)


def test_cut_beyond_the_frame_is_its_mean() -> None:
    """Far from the border, what lies outside has the mean colour."""
    frame = torch.randint(0, 256, (3, 30, 40), dtype=torch.uint8)
    found = cut(frame, (0, 0), [40], size=40)[0] * 255
    mean = frame.float().mean((1, 2))[:, None, None].expand(3, 10, 10)
    torch.testing.assert_close(found[:, :10, :10], mean, atol=1e-2, rtol=0)


def test_box_without_area_is_refused() -> None:
    """There is nothing to look at in a box of no width."""
    with pytest.raises(DataError, match="no area"):
        context_side(0, 10)


def test_correlation_filter_follows() -> None:
    """The filter stays within 3 pixels of the square; the box that never moves does not."""
    frames, boxes = video(12)
    found = run_tracker(CorrelationFilter(), frames, boxes[0]).boxes
    still = run_tracker(Still(), frames, boxes[0]).boxes
    middle = boxes[:, :2] + boxes[:, 2:] / 2
    assert (found[:, :2] + found[:, 2:] / 2 - middle).abs().max() < 3
    assert (still[-1] - boxes[-1]).abs().max() == 33


def test_siamese_tracker_follows_a_peak() -> None:
    """A network that scores a place by its brightness leads the box to the bright square."""

    class Bright(SiameseTracker):
        def features(self, crop: Tensor) -> Tensor:
            return torch.nn.functional.avg_pool2d(crop.mean(1, keepdim=True), 32, 8)

        def compare(self, template: Tensor, search: Tensor) -> Tensor:
            return search[:, :, 2:-2, 2:-2]

    frames = [torch.zeros(3, 120, 160, dtype=torch.uint8) for _ in range(8)]
    for step, frame in enumerate(frames):
        frame[:, 40:64, 40 + 3 * step : 64 + 3 * step] = 255
    found = run_tracker(Siamese(Bright().eval()), frames, torch.tensor([40, 40, 24, 24])).boxes
    centre = found[-1, :2] + found[-1, 2:] / 2
    assert (centre - torch.tensor([73.0, 52.0])).abs().max() < 3


def test_steps_are_taken_one_by_one() -> None:
    """A frame is not read before the one before it has been followed; boxes are the run's."""
    frames, boxes = video(3)
    read = []

    def reading() -> Iterator[Tensor]:
        for number, frame in enumerate(frames):
            read.append(number)
            yield frame

    seen = []
    for step in steps_of(CorrelationFilter(), reading(), boxes[0]):
        seen.append(step)
        assert read == list(range(len(seen)))
    expected = run_tracker(CorrelationFilter(), frames, boxes[0]).boxes
    assert torch.equal(torch.stack([step.box for step in seen]), expected)
    assert seen[0].seconds == 0 and min(step.seconds for step in seen[1:]) > 0


class Certain:
    """Finds the target in the middle with a score that is given."""

    def __init__(self, score: float) -> None:
        self.score = score

    def features(self, crop: Tensor) -> Tensor:
        return crop

    def compare(self, template: Tensor, search: Tensor) -> Tensor:
        scores = torch.full((len(search), 1, 9, 9), -5.0)
        scores[:, :, 3:6, 3:6] = self.score
        return scores


def test_score_says_how_sure_the_siamese_tracker_is() -> None:
    """The largest score as a probability, and none before anything was followed."""
    frames, boxes = video(2)
    found = []
    for score in (-1.0, 3.0):
        tracker = Siamese(Certain(score))
        tracker.start(frames[0], boxes[0])
        assert tracker.score != tracker.score
        tracker.follow(frames[1])
        found.append(tracker.score)
    assert found == pytest.approx([0.2689, 0.9526], abs=1e-4)


def test_cut_is_the_same_beside_larger_ones() -> None:
    """What else is cut changes nothing, also where pixels are averaged and at the border."""
    frame = torch.randint(0, 256, (3, 120, 160), dtype=torch.uint8)
    for side, size, centre in ((100, 16, (80, 60)), (37, 64, (70.3, 50.2)), (150, 16, (10, 20))):
        alone = cut(frame, centre, [side], size=size)
        among = cut(frame, centre, [side, 1.5 * side], size=size)[:1]
        torch.testing.assert_close(alone, among, atol=1e-4, rtol=0)
