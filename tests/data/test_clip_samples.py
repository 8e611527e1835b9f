"""Samples for trackers that make a filter: which frames, where the target is, in what light."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from widthwise.data.clip_samples import (
    ClipSamples,
    Pool,
    SampleSettings,
    frames_around,
    sample_of,
)
from widthwise.data.clips import Clip
from widthwise.errors import DataError
from widthwise.tracking.boxes import overlap

SETTINGS = SampleSettings(side=96)


def moving(
    name: str = "moving", *, frames: int = 40, colour: tuple[int, ...] = (250, 90, 20)
) -> Clip:
    """A rectangle of one colour that crosses a dark frame, two pixels further in each."""
    images, boxes = [], []
    for number in range(frames):
        frame = torch.full((3, 100, 160), 10, dtype=torch.uint8)
        x, y = 20 + 2 * number % 90, 30
        frame[:, y : y + 20, x : x + 30] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
        images.append(frame)
        boxes.append([x, y, 30, 20])
    return Clip(
        name=name,
        images=images,
        boxes=torch.tensor(boxes).double(),
        absent=torch.zeros(frames, dtype=torch.bool),
    )


def drawn(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def around_bright(crop: Tensor) -> Tensor:
    """The box around what is bright in a crop, x, y, w, h."""
    brightest = crop.float().amax(0)
    rows, columns = (brightest > brightest.max() / 2).nonzero().unbind(1)
    x, y = columns.min(), rows.min()
    return torch.stack([x, y, columns.max() + 1 - x, rows.max() + 1 - y]).double()


def test_boxes_are_where_the_target_is() -> None:
    """In every crop, whatever its jitter, the box is that of the bright pixels, to a pixel."""
    compared = 0
    for seed in range(12):
        sample = sample_of(moving(), SETTINGS, drawn(seed))
        crops = torch.cat([sample.template_crops, sample.search_crops])
        boxes = torch.cat([sample.template_boxes, sample.search_boxes]).double()
        for crop, box in zip(crops, boxes, strict=True):
            if (box[:2] < 0).any() or (box[:2] + box[2:] > 96).any():
                continue
            compared += 1
            assert (around_bright(crop) - box).abs().max() < 1.5
    assert compared > 40


def test_crops_are_jittered_as_published() -> None:
    """Shifts stay within 1.5 and 2.25 sides of the jittered target, and come near these limits."""
    shifts, sizes = {"template": [], "search": []}, {"template": [], "search": []}
    for seed in range(60):
        sample = sample_of(moving(), SETTINGS, drawn(seed))
        for kind, boxes in (("template", sample.template_boxes), ("search", sample.search_boxes)):
            middle = boxes[:, :2] + boxes[:, 2:] / 2
            # What a crop shows is five sides of the jittered target.
            shifts[kind] += ((middle - 48).abs() / 96 * 5).flatten().tolist()
            sizes[kind] += (boxes[:, 2:].prod(1).sqrt() / 96 * 5).log().tolist()
    assert 1.3 < max(shifts["template"]) <= 1.5
    assert 2.0 < max(shifts["search"]) <= 2.25
    assert abs(np.mean(sizes["template"])) < 0.05
    # The root of two independent sides: the deviation of one, divided by the root of two.
    assert np.std(sizes["template"]) == pytest.approx(0.25 / 2**0.5, rel=0.15)
    assert np.std(sizes["search"]) == pytest.approx(0.5 / 2**0.5, rel=0.15)


def test_proposals_meet_the_target() -> None:
    """As many boxes as asked for each frame to search in, all of which share something with it."""
    sample = sample_of(moving(), SETTINGS, drawn(0))
    assert sample.proposals.shape == (3, 8, 4)
    wanted = sample.search_boxes[:, None].expand(3, 8, 4)
    shared = overlap(wanted.reshape(-1, 4), sample.proposals.reshape(-1, 4))
    assert (shared > 0.1).all()


def test_frames_lie_around_the_base() -> None:
    """Those to learn on come before it or are it, the others after it, no further than the gap."""
    settings = SampleSettings(gap=7)
    seen = np.arange(50)
    for seed in range(50):
        (base, *earlier), later = frames_around(seen, settings, drawn(seed))
        assert len(earlier) == 2
        assert len(later) == 3
        assert all(base - 7 <= each < base for each in earlier)
        assert all(base < each <= base + 7 for each in later)


def test_the_gap_grows_over_hidden_frames() -> None:
    """Where the target is hidden for longer, frames behind that are taken, up to five too far."""
    seen = np.array([0, 1, 60, 62, 150, 154])
    bases = set()
    for seed in range(40):
        (base, *earlier), later = frames_around(seen, SampleSettings(gap=7), drawn(seed))
        bases.add(base)
        if base == 60:
            assert set(earlier) <= {0, 1}
            assert set(later) == {62}
        if base == 62:
            assert set(later) <= {150, 154}
    assert bases == {1, 60, 62, 150}


@pytest.mark.parametrize("count", [1, 2])
def test_a_still_is_used_for_all_frames(count: int) -> None:
    """Of one frame, or two, a single one is learned on and searched in, in different crops."""
    clip = moving(frames=count)
    learned, searched = frames_around(clip.seen, SETTINGS, drawn(0))
    assert len({*learned, *searched}) == 1
    sample = sample_of(clip, SETTINGS, drawn(0))
    assert not torch.equal(sample.template_boxes[0], sample.template_boxes[1])


def test_hidden_frames_are_left_out() -> None:
    """Frames that are flagged, or whose box is not known, are not drawn."""
    clip = moving(frames=10)
    clip.absent[3] = True
    clip.boxes[6] = float("nan")
    assert clip.seen.tolist() == [0, 1, 2, 4, 5, 7, 8, 9]


def test_a_seed_and_a_number_decide_a_sample() -> None:
    """Whatever else is in the batch, and in whichever order; another seed or number is another."""
    samples = ClipSamples([Pool(clips=[moving()])], count=9, settings=SETTINGS)
    together, alone = samples.batch([4, 7], seed=3), samples.batch([7], seed=3)
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one[1:], other)
    assert not torch.equal(together.search_boxes[0], together.search_boxes[1])
    assert not torch.equal(samples.batch([7], seed=4).search_boxes, alone.search_boxes)
    assert len(samples) == 9
    assert together.template_crops.shape == (2, 3, 3, 96, 96)
    assert together.template_crops.dtype == torch.uint8


def test_pools_are_drawn_by_weight() -> None:
    """However many clips each has: a pool with a fourth of the weight gives a fifth of samples."""
    blue, red = (20, 20, 250), (250, 20, 20)
    many = Pool(clips=[moving(frames=1, colour=blue)] * 50, weight=0.25)
    few = Pool(clips=[moving(frames=1, colour=red)], weight=1)
    small = SampleSettings(side=32, frames=1, proposals=1)
    batch = ClipSamples([many, few], count=400, settings=small).batch(range(400), seed=0)
    brightest = batch.template_crops[:, 0].float().mean((2, 3))
    counts = Counter((brightest[:, 2] > brightest[:, 0] + 1).tolist())
    assert 50 < counts[True] < 110


def test_a_few_samples_are_grey_and_light_changes() -> None:
    """All six crops of a sample are grey or none; each has a light of its own, a fifth at most."""
    settings = SampleSettings(side=32)
    clip = moving(colour=(180, 90, 20))
    grey, lights = 0, []
    for seed in range(200):
        sample = sample_of(clip, settings, drawn(seed))
        crops = torch.cat([sample.template_crops, sample.search_crops]).float()
        colourless = [(crop.amax(0) - crop.amin(0)).max() <= 1 for crop in crops]
        assert len(set(map(bool, colourless))) == 1
        grey += bool(colourless[0])
        if not colourless[0]:
            lights += [float(crop.amax()) / 180 for crop in sample.template_crops]
    assert 2 <= grey <= 20
    assert 0.79 < min(lights) < 0.83
    assert 1.17 < max(lights) < 1.21
    assert all(one != other for one, other in pairwise(lights[:6]))


def test_nothing_to_draw_from_is_refused() -> None:
    """A pool without clips, and pools without weight, are errors."""
    for pools in ([], [Pool(clips=[])], [Pool(clips=[moving()], weight=0)]):
        with pytest.raises(DataError, match="no clips to train on"):
            ClipSamples(pools, count=4)
