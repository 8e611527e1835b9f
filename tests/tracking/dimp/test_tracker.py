"""The tracker follows, is reproducible, and does what each finding asks for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models.dimp.losses import box_proposals, dimp_loss
from widthwise.models.dimp.network import Dimp, example_inputs
from widthwise.tracking.boxes import clipped, overlap
from widthwise.tracking.dimp import DimpSettings, DimpTracker
from widthwise.tracking.dimp import tracker as module
from widthwise.tracking.dimp.localisation import Finding, LocalisationSettings, Located
from widthwise.tracking.dimp.memory import MemorySettings
from widthwise.tracking.dimp.refinement import RefinementSettings
from widthwise.tracking.dimp.views import View, looked_at
from widthwise.tracking.running import Still, run_tracker

SIDE = 96
SETTINGS = DimpSettings(side=SIDE)


class Backbone(nn.Module):
    """Four convolutions that halve the map, the last two maps returned."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 24, 32, 48)
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(given, made, 3, 2, 1), nn.BatchNorm2d(made), nn.ReLU())
            for given, made in pairwise(widths)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [images]
        for layer in self.layers:
            maps.append(layer(maps[-1]))
        return maps[-2:]


def video(count: int, *, seed: int, side: int = 24) -> tuple[list[Tensor], Tensor]:
    """A soft pattern of colours that moves over another one, bouncing off the border."""
    draw = torch.Generator().manual_seed(seed)
    back = functional.interpolate(torch.rand(1, 3, 15, 20, generator=draw) * 120, (120, 160))[0]
    pattern = torch.rand(1, 3, 6, 6, generator=draw) * 255
    pattern = functional.interpolate(pattern, (side, side), mode="bilinear")[0]
    place, speed = torch.tensor([30.0, 40.0]), torch.tensor([3.0, 1.5])
    frames, boxes = [], []
    for _ in range(count):
        frame = back + torch.randn(back.shape, generator=draw) * 4
        x, y = place.round().int().tolist()
        frame[:, y : y + side, x : x + side] = pattern
        frames.append(frame.clamp(0, 255).to(torch.uint8))
        boxes.append([x, y, side, side])
        beyond = (place + speed < 4) | (place + speed > torch.tensor([156.0, 116.0]) - side)
        speed = torch.where(beyond, -speed, speed)
        place = place + speed
    return frames, torch.tensor(boxes).double()


def training_crops(sequences: int) -> tuple[Tensor, Tensor]:
    """Four frames of each of some videos, cut out beside the target, and the targets' boxes."""
    draw, crops, boxes = torch.Generator().manual_seed(0), [], []
    for number in range(sequences):
        frames, truth = video(4, seed=1000 + number, side=16 + number % 16)
        for frame, box in zip(frames, truth, strict=True):
            stretch = torch.exp(0.15 * torch.randn(2, generator=draw)).double()
            side = 5 * float((box[2:] * stretch).prod().sqrt())
            off = (torch.rand(2, generator=draw).double() - 0.5) * side / 2
            centre = box[:2] + box[2:] / 2 + off
            crops.append(looked_at(frame, centre, side, size=SIDE, views=[View()])[0])
            zoom = SIDE / side
            boxes.append(torch.cat([(box[:2] - centre) * zoom + SIDE / 2, box[2:] * zoom]).float())
    shape = (sequences, 4)
    return torch.stack(crops).unflatten(0, shape), torch.stack(boxes).unflatten(0, shape)


@pytest.fixture(scope="module")
def network() -> Dimp:
    """A small network, trained for two seconds on other videos."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        built = Dimp(Backbone(), classifier_width=32, box_width=32, iterations=3).train()
    crops, boxes = training_crops(32)
    optimizer = torch.optim.Adam(built.parameters(), lr=3e-3)
    draw = torch.Generator().manual_seed(0)
    for _ in range(45):
        chosen = torch.randperm(len(crops), generator=draw)[:6]
        seen, target = crops[chosen], boxes[chosen]
        proposals = box_proposals(target[:, 2:], generator=draw)
        output = built(seen[:, :2], target[:, :2], seen[:, 2:], proposals)
        optimizer.zero_grad()
        dimp_loss(output, target[:, 2:], proposals).total.backward()
        optimizer.step()
    return built.eval()


def started(network: Dimp, settings: DimpSettings = SETTINGS) -> tuple[DimpTracker, list[Tensor]]:
    """A tracker that has seen the first frame, and the frames after it."""
    frames, boxes = video(4, seed=0)
    tracker = DimpTracker(network, settings)
    tracker.start(frames[0], boxes[0])
    return tracker, frames[1:]


def test_follows_a_moving_target(network: Dimp) -> None:
    """On videos it was not trained on it covers the target, which the still box loses."""
    for seed in (10, 11):
        frames, boxes = video(30, seed=seed)
        track = run_tracker(DimpTracker(network, SETTINGS), frames, boxes[0])
        still = run_tracker(Still(), frames, boxes[0])
        assert overlap(track.boxes, boxes)[1:].mean() > 0.4
        assert overlap(still.boxes, boxes)[1:].mean() < 0.15


def test_same_seed_same_boxes(network: Dimp) -> None:
    """The seed decides everything random, and a tracker may be started again."""
    frames, boxes = video(6, seed=3)
    tracker = DimpTracker(network, SETTINGS)
    first = run_tracker(tracker, frames, boxes[0]).boxes
    torch.rand(7)
    assert torch.equal(run_tracker(tracker, frames, boxes[0]).boxes, first)
    other = DimpTracker(network, replace(SETTINGS, seed=1))
    assert not torch.equal(run_tracker(other, frames, boxes[0]).boxes, first)


def test_a_narrowed_network_tracks(network: Dimp) -> None:
    """What a tracker calls works in a narrowed network, as it does in one forward."""
    graph = ww.trace(network, example_inputs(side=SIDE))
    small = ww.shrink(network, ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6)))
    frames, boxes = video(4, seed=3)
    assert isinstance(small, Dimp)
    track = run_tracker(DimpTracker(small, SETTINGS), frames, boxes[0])
    assert track.boxes.isfinite().all()
    assert (track.boxes[:, 2:] > 0).all()


def test_first_frame_gives_fifteen_samples(network: Dimp) -> None:
    """Thirteen views and two copies with dropout, at boxes that are inside of the crops."""
    tracker, _ = started(network)
    assert len(tracker._memory.boxes) == 15
    middles = tracker._memory.boxes[:, :2] + tracker._memory.boxes[:, 2:] / 2
    assert (middles[[0, -2, -1]] == SIDE / 2).all()
    assert len(middles[:-2].unique(dim=0)) == 13
    assert (tracker._memory.boxes[:, :2] >= 0).all()
    assert ((tracker._memory.features[-1] == 0).all(-1).all(-1)).any()


def forced(monkeypatch: pytest.MonkeyPatch, finding: Finding, x: float = 1.0) -> None:
    """Make every map of scores say the same."""

    def locate(scores: Tensor, target: Tensor, settings: LocalisationSettings) -> Located:
        return Located(finding, torch.tensor([x, 0.0]).double(), 0.9)

    monkeypatch.setattr(module, "locate", locate)


@pytest.mark.parametrize("finding", list(Finding))
def test_each_finding_has_its_consequence(
    network: Dimp, finding: Finding, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not found: nothing changes. Uncertain: it moves. Hard negative: it learns at once."""
    tracker, frames = started(network)
    forced(monkeypatch, finding)
    before = torch.cat([tracker._centre - tracker._size / 2, tracker._size])
    filters = tracker._filter
    box = tracker.follow(frames[0])
    assert tracker.finding is finding
    assert torch.equal(box, before) == (finding is Finding.NOT_FOUND)
    learns = finding in (Finding.NORMAL, Finding.HARD_NEGATIVE)
    assert len(tracker._memory.weights) == 15 + learns
    if learns:
        rate = 0.02 if finding is Finding.HARD_NEGATIVE else 0.01
        torch.testing.assert_close(tracker._memory.weights[-1].item(), rate)
    assert torch.equal(tracker._filter, filters) == (finding is not Finding.HARD_NEGATIVE)


def test_regular_updates(network: Dimp, monkeypatch: pytest.MonkeyPatch) -> None:
    """The filter changes in every so many frames, and only then."""
    tracker, frames = started(network, replace(SETTINGS, update_every=2))
    forced(monkeypatch, Finding.NORMAL, x=0.0)
    seen = [tracker._filter]
    for frame in (*frames, frames[0]):
        tracker.follow(frame)
        seen.append(tracker._filter)
    changed = [not torch.equal(*pair) for pair in pairwise(seen)]
    assert changed == [False, True, False, True]


def test_learned_box_is_where_the_target_was_seen(
    network: Dimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The memory has the refined box in pixels of the crop, which was cut before it moved."""
    tracker, frames = started(network)
    forced(monkeypatch, Finding.NORMAL)
    centre, side = tracker._centre, tracker._crop_side
    box = tracker.follow(frames[0])
    zoom = SIDE / side
    expected = torch.cat([(box[:2] - centre) * zoom + SIDE / 2, box[2:] * zoom])
    torch.testing.assert_close(tracker._memory.boxes[-1].double(), expected, atol=1e-3, rtol=0)


def test_a_cell_is_sixteen_pixels_of_the_crop(
    network: Dimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peak a cell to the right moves the box by 16 pixels of a crop 5 times the target's size."""
    still = replace(SETTINGS, refinement=RefinementSettings(steps=0))
    tracker, frames = started(network, still)
    forced(monkeypatch, Finding.NORMAL)
    box = tracker.follow(frames[0])
    torch.testing.assert_close(box, torch.tensor([30 + 16 * 5 * 24 / SIDE, 40, 24, 24]).double())


def test_filter_of_the_first_frame_took_ten_steps(network: Dimp) -> None:
    """It is the one that the classifier makes of all samples in ten steps, and not in fewer."""
    tracker, _ = started(network)
    samples = tracker._memory.features[None], tracker._memory.boxes[None]
    with torch.no_grad():
        steps = network.classifier.filters(*samples, iterations=10)
    torch.testing.assert_close(tracker._filter, steps[10])
    assert not torch.allclose(tracker._filter, steps[9], rtol=1e-3)


def test_samples_count_by_their_weights(network: Dimp, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new sample without weight leaves the filter as the first frame's samples make it."""
    tracker, frames = started(network, replace(SETTINGS, memory=MemorySettings(hard_rate=0.0)))
    forced(monkeypatch, Finding.HARD_NEGATIVE)
    before, samples = tracker._filter, tracker._memory
    tracker.follow(frames[0])
    with torch.no_grad():
        _, expected = network.classifier.optimizer(
            before, samples.features[None, :15], samples.boxes[None, :15], iterations=1
        )
    torch.testing.assert_close(tracker._filter, expected)
    assert len(samples.boxes) == 16


def test_refinement_starts_inside_of_the_frame(
    network: Dimp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peak beyond the border is brought back before boxes around it are judged."""
    tracker, frames = started(network)
    forced(monkeypatch, Finding.UNCERTAIN, x=40.0)
    starts: list[Tensor] = []

    def refined(box: Tensor, *others: object) -> None:
        starts.append(box)

    monkeypatch.setattr(module, "refined", refined)
    box = tracker.follow(frames[0])
    zoom = SIDE / 120
    (start,) = starts
    torch.testing.assert_close(
        float(start[0] - SIDE / 2) / zoom + 42, float(box[0]), rtol=1e-5, atol=0
    )


@pytest.mark.parametrize("cells", [-40.0, 40.0])
def test_part_of_the_target_stays_in_the_frame(
    network: Dimp, cells: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far a peak is, a fifth of the box's width can still be seen."""
    tracker, frames = started(network)
    forced(monkeypatch, Finding.UNCERTAIN, x=cells)
    for frame in frames:
        box = tracker.follow(frame)
    assert clipped(box[None], (120, 160))[0, 2] >= 0.2 * box[2] - 1e-6


def test_side_has_whole_cells(network: Dimp) -> None:
    """A crop of 100 pixels is refused: 16 do not divide it."""
    with pytest.raises(ConfigError, match="multiple of 16"):
        DimpTracker(network, DimpSettings(side=100))
