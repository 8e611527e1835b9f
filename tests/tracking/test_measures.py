"""Scores of trackers: known ceilings, cases counted by hand, and what bad input counts as."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from widthwise.errors import ConfigError, DataError
from widthwise.tracking.measures import (
    BENCHMARKS,
    GOT10K,
    LASOT,
    OTB,
    TRACKINGNET,
    Benchmark,
    Invalid,
    Judged,
)

SIZE = (240, 320)
NAN = float("nan")


def walk(frames: int, seed: int = 0) -> Tensor:
    """Boxes of whole pixels, inside of the frame."""
    drawing = torch.Generator().manual_seed(seed)
    corners = torch.randint(5, 150, (frames, 2), generator=drawing)
    return torch.cat([corners, torch.randint(20, 60, (frames, 2), generator=drawing)], 1).double()


def moved(boxes: Tensor, *, right: float) -> Tensor:
    """The same boxes, further right; the first is left where it was."""
    shift = torch.zeros_like(boxes)
    shift[1:, 0] = right
    return boxes + shift


def row(*numbers: float, times: int = 1) -> Tensor:
    """The same box in so many frames."""
    return torch.tensor([numbers]).double().repeat(times, 1)


@pytest.mark.parametrize(
    ("rules", "auc", "average"),
    [(OTB, 20 / 21, 1), (LASOT, 20 / 21, 1), (TRACKINGNET, 1, 1), (GOT10K, 100 / 101, 1)],
    ids=lambda rules: getattr(rules, "name", ""),
)
def test_ceiling_of_a_perfect_tracker(rules: Benchmark, auc: float, average: float) -> None:
    """95.24 % by OTB and LaSOT, 100 % by TrackingNet, and an average overlap of 100 %."""
    boxes = [walk(length, seed=length) for length in (2, 9, 40)]
    scores = rules.summary([rules.judge(one, one, size=SIZE) for one in boxes])
    assert scores.auc == pytest.approx(auc, abs=1e-12)
    assert scores.average_overlap == pytest.approx(average, abs=1e-12)
    assert scores.success_50 == scores.success_75 == pytest.approx(1)
    assert scores.precision == scores.normalised_precision == pytest.approx(1)


def test_every_absent_frame_is_a_miss_for_lasot() -> None:
    """With a share `a` of absent frames, a perfect tracker has `1 - a` of each ceiling."""
    boxes = walk(40)
    absent = torch.zeros(40, dtype=torch.bool)
    absent[7:17] = True
    scores = LASOT.judge(boxes, boxes, absent).scores
    assert scores.auc == pytest.approx(0.75 * 20 / 21)
    assert scores.precision == scores.normalised_precision == pytest.approx(0.75)
    # OTB has no such flags, and GOT-10k leaves these frames out.
    assert OTB.judge(boxes, boxes, absent).scores.auc == pytest.approx(20 / 21)
    judged = GOT10K.judge(boxes, boxes, absent, SIZE)
    assert judged.frames == 29 and judged.scores.average_overlap == pytest.approx(1)


def test_success_counted_by_hand() -> None:
    """Overlaps of 1, 0.6 and 0: above 0, 0.05 ... 1, or equal to them."""
    truth = row(10, 10, 20, 8, times=3)
    guess = torch.stack([truth[0], truth[0] + torch.tensor([5, 0, 0, 0]), truth[0] + 100])
    # 1 is above 20 of 21 thresholds, 0.6 above 12: 0, 0.05 ... 0.55.
    otb = OTB.judge(guess, truth)
    assert otb.overlaps.tolist() == pytest.approx([1, 0.6, 0])
    assert otb.scores.auc == pytest.approx((20 + 12 + 0) / 21 / 3)
    # 1 reaches all, 0.6 reaches 13, 0 reaches the first; the two ends of the axis count half.
    tnet = TRACKINGNET.judge(guess, truth).scores
    assert tnet.auc == pytest.approx((20 + 12.5 + 0.5) / 20 / 3)
    got = GOT10K.judge(guess, truth, size=SIZE).scores
    assert got.average_overlap == pytest.approx(0.3)
    assert (got.success_50, got.success_75) == (0.5, 0)


@pytest.mark.parametrize(("right", "hits"), [(20, 1.0), (20.1, 0.0)])
def test_precision_is_read_at_20_pixels(right: float, hits: float) -> None:
    """An error of exactly 20 pixels is a hit; the first frame always is."""
    truth = row(10, 10, 200, 40, times=5)
    scores = OTB.judge(moved(truth, right=right), truth).scores
    assert scores.precision == pytest.approx((1 + 4 * hits) / 5)


@pytest.mark.parametrize(("right", "hits"), [(40, 1.0), (41, 0.0)])
def test_normalised_precision_is_read_at_a_fifth_of_the_side(right: float, hits: float) -> None:
    """It is the width of the true box that counts to the side."""
    truth = row(10, 10, 200, 40, times=5)
    scores = OTB.judge(moved(truth, right=right), truth).scores
    assert scores.normalised_precision == pytest.approx((1 + 4 * hits) / 5)


def test_precision_of_trackingnet_is_an_area() -> None:
    """An error of 10 of 50 pixels: 0 below, half of a step, 1 beyond."""
    truth = row(10, 10, 100, 40, times=2)
    scores = TRACKINGNET.judge(moved(truth, right=10), truth).scores
    # Thresholds lie 2.5 pixels apart; the curve rises to 1 between 7.5 and 10.
    assert scores.precision == pytest.approx((1 + (40 + 1.25) / 50) / 2)
    # The error is 0.1 sides; thresholds lie 0.025 apart.
    assert scores.normalised_precision == pytest.approx((1 + (0.4 + 0.0125) / 0.5) / 2)


def test_trackingnet_rounds_to_whole_pixels() -> None:
    """0.4 pixels are none; by other rules they count."""
    truth = row(10, 10, 20, 8, times=4)
    guess = moved(truth, right=0.4)
    assert TRACKINGNET.judge(guess, truth).scores.auc == pytest.approx(1)
    assert replace(TRACKINGNET, rounded=False).judge(guess, truth).scores.auc < 1


def test_got10k_looks_inside_of_the_frame_only() -> None:
    """What a prediction covers beyond the far edge is cut off, first frame not counted."""
    truth = row(300, 50, 20, 20, times=3)
    guess = row(300, 50, 200, 20, times=3)
    judged = GOT10K.judge(guess, truth, size=SIZE)
    assert judged.frames == 2 and judged.scores.average_overlap == pytest.approx(1)
    unbounded = replace(GOT10K, bounded=False).judge(guess, truth)
    assert unbounded.scores.average_overlap == pytest.approx(0.1)
    # A box that starts left of the frame is moved into it, to -1 as its files count from 1.
    left = row(-11, 50, 20, 20, times=3), row(0, 50, 20, 20, times=3)
    assert GOT10K.judge(*left, size=SIZE).scores.average_overlap == pytest.approx(19 / 21)


@pytest.mark.parametrize("bad", [(NAN, 1, 1, 1), (5, 5, 0, 9), (5, 5, 9, -2), (0, 0, 0, 0)])
def test_bad_predictions_repeat_the_last_good_one(bad: tuple[float, ...]) -> None:
    """NaN and boxes of no area are replaced, two in a row too; by TrackingNet they are misses."""
    truth = row(50, 50, 20, 20, times=4)
    guess = torch.cat([truth[:2], row(*bad, times=2)])
    assert OTB.judge(guess, truth).scores.auc == pytest.approx(20 / 21)
    missed = TRACKINGNET.judge(guess, truth)
    assert missed.overlaps.isnan().tolist() == [False, False, True, True]
    assert missed.scores.auc == missed.scores.precision == pytest.approx(0.5)


def test_results_of_another_length() -> None:
    """What is missing at the end is missed; what is too much is not looked at."""
    boxes = walk(10)
    short = OTB.judge(boxes[:6], boxes)
    assert short.frames == 10 and short.scores.precision == pytest.approx(0.6)
    assert short.scores.auc == pytest.approx(0.6 * 20 / 21)
    assert OTB.judge(torch.cat([boxes, boxes]), boxes).scores.auc == pytest.approx(20 / 21)


@pytest.mark.parametrize("broken", [(NAN,) * 4, (30, 30, 0, 20), (-1, 30, 20, 20)])
def test_invalid_truth_is_missed_but_near(broken: tuple[float, ...]) -> None:
    """By OTB's code such frames have no overlap, and a centre error below every threshold."""
    truth = torch.cat([row(50, 50, 20, 20, times=3), row(*broken)])
    scores = OTB.judge(row(50, 50, 20, 20, times=4), truth).scores
    assert scores.auc == pytest.approx(0.75 * 20 / 21)
    assert scores.precision == scores.normalised_precision == 1
    assert scores.precision_curve[0] == 1


def test_invalid_truth_by_other_rules() -> None:
    """It can be a miss in all respects, or not be counted."""
    truth = torch.cat([row(50, 50, 20, 20, times=3), row(NAN, NAN, NAN, NAN)])
    guess = row(50, 50, 20, 20, times=4)
    missed = replace(OTB, invalid=Invalid.MISSED).judge(guess, truth)
    assert (missed.frames, missed.scores.precision) == (4, 0.75)
    left_out = replace(OTB, invalid=Invalid.LEFT_OUT).judge(guess, truth)
    assert (left_out.frames, left_out.scores.precision) == (3, 1)


def test_only_some_rules_ask_where_the_truth_starts() -> None:
    """A true box that begins left of the frame is used by TrackingNet."""
    truth = row(-3, 50, 20, 20, times=4)
    assert TRACKINGNET.judge(truth, truth).scores.auc == 1
    assert OTB.judge(truth, truth).scores.auc == 0
    at_the_edge = row(0, 0, 20, 20, times=4)
    assert OTB.judge(at_the_edge, at_the_edge).scores.auc == pytest.approx(20 / 21)


def test_the_first_box_is_given() -> None:
    """Whatever was predicted for the first frame, it counts as right where it counts."""
    truth = walk(4)
    guess = truth.clone()
    guess[0] += 500
    assert OTB.judge(guess, truth).scores.precision == 1


def test_sequences_weigh_the_same_or_frames_do() -> None:
    """A long bad and a short good sequence: their mean, or the share of good frames."""
    good, bad = walk(3, 1), walk(9, 2)
    pairs = [(good, good), (moved(bad, right=500), bad)]
    otb = [OTB.judge(*pair) for pair in pairs]
    expected = (20 / 21) * (1 + 1 / 9) / 2  # the first frame of the bad one is right
    assert OTB.summary(otb).auc == pytest.approx(expected)
    got = [GOT10K.judge(*pair, size=(1000, 1000)) for pair in pairs]
    scores = GOT10K.summary(got)
    assert scores.average_overlap == scores.success_50 == pytest.approx(2 / 10)


def test_frames_pooled_are_one_sequence() -> None:
    """Pooled scores are those of all counted frames in a row."""
    rules = replace(GOT10K, counts_first=True)
    truth, guess = walk(24, 3), walk(24, 3) + torch.randn(24, 4, generator=seeded(4)) * 4
    guess[[0, 5]] = truth[[0, 5]]  # every part begins with the truth in any case
    parts = [rules.judge(guess[a:b], truth[a:b], size=SIZE) for a, b in ((0, 5), (5, 24))]
    whole = rules.judge(guess, truth, size=SIZE).scores
    scores = rules.summary(parts)
    assert scores.auc == pytest.approx(whole.auc) and 0.1 < whole.auc < 0.95
    torch.testing.assert_close(scores.precision_curve, whole.precision_curve)


def seeded(seed: int) -> torch.Generator:
    """A generator of random numbers."""
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rules", BENCHMARKS.values(), ids=lambda rules: rules.name)
def test_curves_fall_and_rise(rules: Benchmark) -> None:
    """Success never rises with its threshold, precision never falls; all within 0 and 1."""
    truth = walk(60)
    guess = truth + torch.randn(60, 4, generator=seeded(0)) * 9
    scores = rules.judge(guess, truth, size=SIZE).scores
    assert (scores.success_curve.diff() <= 0).all()
    assert (scores.precision_curve.diff() >= 0).all() and (scores.normalised_curve <= 1).all()
    assert len(scores.success_curve) == len(rules.overlap_axis)
    assert len(scores.precision_curve) == len(rules.pixel_axis) == len(rules.normalised_axis)
    assert 0.1 < scores.average_overlap < 1


def test_input_is_not_changed() -> None:
    """Neither the predicted nor the true boxes."""
    truth, guess = walk(5), walk(5, 1)
    guess[2] = NAN
    kept = truth.clone(), guess.clone()
    for rules in BENCHMARKS.values():
        rules.judge(guess, truth, size=SIZE)
    assert torch.equal(truth, kept[0]) and torch.equal(guess.nan_to_num(7), kept[1].nan_to_num(7))


def test_one_frame_does_not_count_where_the_first_does_not() -> None:
    """It is left out of a set; a set of nothing else is refused."""
    one, more = walk(1), walk(4)
    judged = [GOT10K.judge(boxes, boxes, size=SIZE) for boxes in (one, more)]
    assert judged[0].frames == 0 and not math.isnan(judged[0].scores.auc)
    assert GOT10K.summary(judged).average_overlap == 1
    assert OTB.judge(one, one).scores.auc == pytest.approx(20 / 21)
    for nothing in (judged[:1], list[Judged]()):
        with pytest.raises(DataError, match=r"No frame of . sequences counts"):
            GOT10K.summary(nothing)


def test_wrong_shapes_are_refused() -> None:
    """The message says what was expected."""
    with pytest.raises(ConfigError, match=r"predicted boxes have shape \[4\], expected \[n, 4\]"):
        OTB.judge(walk(1)[0], walk(1))
    with pytest.raises(ConfigError, match=r"flags of absence have shape \[2\], expected \[3\]"):
        OTB.judge(walk(3), walk(3), torch.zeros(2))
    with pytest.raises(ConfigError, match="`got10k` need the size"):
        GOT10K.judge(walk(3), walk(3))
