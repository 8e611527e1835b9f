"""How well a tracker did: success, precision and average overlap, as each benchmark counts them.

The benchmarks agree on the words and not on the numbers: a perfect tracker has 95.24 % under the
rules of OTB and 100 % under those of TrackingNet. One implementation with every rule written out
as an option; `BENCHMARKS` holds the published sets of rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from widthwise.errors import ConfigError, DataError
from widthwise.tracking.boxes import centres, known, overlap

FARTHEST = 50
"""Last threshold of the precision curve, in pixels."""
FARTHEST_NORMALISED = 0.5
"""Last threshold of the normalised precision curve, in sides of the true box."""
PLACE = 0.4
"""Where precision is read, as a share of its axis: 20 of 50 pixels, 0.2 of 0.5 sides."""


class Area(StrEnum):
    """How the area under a curve is taken, on an axis from 0 to 1."""

    MEAN = "mean"
    """Mean of its points."""
    TRAPEZIUM = "trapezium"
    """Straight lines between its points."""


class Reading(StrEnum):
    """What one number is taken from a precision curve."""

    VALUE = "value"
    """Its value at 20 pixels, or at 0.2 sides of the true box."""
    AREA = "area"
    """The area under it."""


class Invalid(StrEnum):
    """What a frame counts as whose true box is not usable."""

    MISSED = "missed"
    """A miss at every threshold."""
    MISSED_BUT_NEAR = "missed_but_near"
    """No overlap, but a centre error of -1, which is below every threshold: a hit there."""
    LEFT_OUT = "left_out"
    """The frame is not counted."""


class Absent(StrEnum):
    """What a frame counts as in which the target is not to be seen."""

    MISSED = "missed"
    """A miss at every threshold, whatever was predicted."""
    LEFT_OUT = "left_out"
    """The frame is not counted."""
    IGNORED = "ignored"
    """Like every other frame: the flags are not looked at."""


@dataclass(frozen=True, kw_only=True)
class Scores:
    """How well a tracker did, on one sequence or on many. All numbers are shares in ``[0, 1]``."""

    auc: float
    """Area under the success curve; often called success."""
    precision: float
    """Of the distance between centres, in pixels."""
    normalised_precision: float
    """Of the same distance in sides of the true box."""
    average_overlap: float
    """Mean overlap; a miss is 0. AO of GOT-10k."""
    success_50: float
    """Share of frames with more overlap than 0.5. SR0.5 of GOT-10k."""
    success_75: float
    """Share of frames with more overlap than 0.75."""
    success_curve: Tensor
    """Share of frames at each of `Benchmark.overlap_axis`, float64."""
    precision_curve: Tensor
    """Share of frames at each of `Benchmark.pixel_axis`, float64."""
    normalised_curve: Tensor
    """Share of frames at each of `Benchmark.normalised_axis`, float64."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """How well a tracker did on one sequence."""

    frames: int
    """Frames that were counted; if 0, all scores are 0 and mean nothing."""
    overlaps: Tensor
    """Overlap in every frame that was counted; NaN for a miss that nothing was measured for."""
    scores: Scores
    """What they come to."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """The rules by which results are counted.

    Example:
        >>> boxes = torch.tensor([[5.0, 5, 20, 10]]).repeat(8, 1)
        >>> for benchmark in (OTB, TRACKINGNET):
        ...     judged = benchmark.judge(boxes, boxes)
        ...     print(benchmark.name, f"{judged.scores.auc:.2%}")
        otb 95.24%
        trackingnet 100.00%
    """

    name: str
    """Name of the benchmark whose rules these are."""
    overlap_points: int = 21
    """Points of the success curve, from 0 to 1."""
    strict: bool = True
    """Whether an overlap has to be above a threshold; otherwise it may equal it. Errors may."""
    area: Area = Area.MEAN
    """How areas under curves are taken."""
    error_points: int = 51
    """Points of the two precision curves, from 0 to 50 pixels and to 0.5 sides."""
    precision: Reading = Reading.VALUE
    """What is taken from the two precision curves."""
    counts_first: bool = True
    """Whether the first frame counts, with the true box for the predicted one."""
    repeats_last: bool = True
    """Whether a prediction that is NaN or has no area is replaced by the one before; else it is a
    miss. Frames after the last prediction are misses in any case."""
    invalid: Invalid = Invalid.MISSED_BUT_NEAR
    """What a frame counts as whose true box is NaN or has no area."""
    inside: bool = True
    """Whether a true box that starts left of or above the first pixel is not usable either."""
    absent: Absent = Absent.IGNORED
    """What a frame counts as that is flagged as without the target."""
    rounded: bool = False
    """Whether both boxes are rounded to whole pixels, halves to the even one."""
    bounded: bool = False
    """Whether corners are first moved into the frame and sides then cut at its far edges."""
    origin: int = 1
    """Number of the first pixel in the files of the benchmark, whose code compares with 0."""
    pooled: bool = False
    """Whether the frames of all sequences are one heap; else every sequence weighs the same."""

    @property
    def overlap_axis(self) -> Tensor:
        """Thresholds of the success curve, float64."""
        return _axis(self.overlap_points)

    @property
    def pixel_axis(self) -> Tensor:
        """Thresholds of the precision curve in pixels, float64."""
        return _axis(self.error_points, FARTHEST)

    @property
    def normalised_axis(self) -> Tensor:
        """Thresholds of the normalised precision curve in sides of the true box, float64."""
        return _axis(self.error_points, FARTHEST_NORMALISED)

    def judge(
        self,
        predicted: Tensor,
        truth: Tensor,
        absent: Tensor | None = None,
        size: tuple[int, int] | None = None,
    ) -> Judged:
        """Compare the boxes that a tracker found in one sequence with the true ones.

        Args:
            predicted: Shape ``[m, 4]``. What is beyond the truth is not looked at; what is missing
                at the end is missed. Not changed.
            truth: Shape ``[n, 4]``; rows of NaN where it is not known. Not changed.
            absent: bool, shape ``[n]``: whether the target is out of sight; None if in no frame.
            size: Height and width of the frames in pixels; needed if boxes are `bounded`.

        Returns:
            The scores.

        Raises:
            ConfigError: If the shapes do not fit, or the size is needed and not given.
        """
        self._check(predicted, truth, absent, size)
        truth = truth.double()
        guess = self._repaired(predicted.double(), truth)
        usable = known(truth)
        if self.inside:
            usable &= (truth[:, :2] + self.origin > 0).all(dim=1)
        guess, truth = (self._adapted(boxes, size) for boxes in (guess, truth))
        overlaps, errors, normalised = _compared(guess, truth)
        near = 0.0 if self.invalid is Invalid.MISSED_BUT_NEAR else float("nan")
        overlaps[~usable] = float("nan")
        errors[~usable], normalised[~usable] = near, near
        flags = torch.zeros(len(truth), dtype=torch.bool) if absent is None else absent.bool()
        if self.absent is Absent.MISSED:
            for values in (overlaps, errors, normalised):
                values[flags] = float("nan")
        counted = torch.ones(len(truth), dtype=torch.bool)
        counted[:1] = self.counts_first
        if self.absent is Absent.LEFT_OUT:
            counted &= ~flags
        if self.invalid is Invalid.LEFT_OUT:
            counted &= usable
        overlaps = overlaps[counted]
        return Judged(
            frames=len(overlaps),
            overlaps=overlaps,
            scores=self._scores(
                _share_above(overlaps, self.overlap_axis, strict=self.strict),
                _share_within(errors[counted], self.pixel_axis),
                _share_within(normalised[counted], self.normalised_axis),
                # 0.5 and 0.75 are no points of every curve, and GOT-10k is strict there.
                _share_above(overlaps, torch.tensor([0.5, 0.75]).double(), strict=True),
                overlaps.nan_to_num(0).sum() / max(len(overlaps), 1),
            ),
        )

    def summary(self, judged: Sequence[Judged]) -> Scores:
        """Put the sequences of a set together.

        Args:
            judged: One per sequence and run, by these same rules. Those without a counted frame
                are left out, such as sequences of one frame where the first does not count.

        Returns:
            The scores of the set.

        Raises:
            DataError: If no frame was counted at all.
        """
        seen = [one for one in judged if one.frames]
        if not seen:
            raise DataError(
                f"No frame of {len(judged)} sequences counts under the rules of `{self.name}`.\n"
                "Why: these rules may leave out the first frame, and frames without the target.\n"
                "Hint: judge sequences of two frames or more, with known boxes."
            )
        weights = torch.tensor([float(one.frames if self.pooled else 1) for one in seen]).double()
        weights /= weights.sum()

        def mean(values: Sequence[Tensor]) -> Tensor:
            return torch.tensordot(weights, torch.stack(list(values)), dims=1)

        scores = [one.scores for one in seen]
        return self._scores(
            mean([one.success_curve for one in scores]),
            mean([one.precision_curve for one in scores]),
            mean([one.normalised_curve for one in scores]),
            mean([torch.tensor([one.success_50, one.success_75]).double() for one in scores]),
            mean([torch.tensor(one.average_overlap).double() for one in scores]),
        )

    def _scores(
        self, success: Tensor, precision: Tensor, normalised: Tensor, rates: Tensor, mean: Tensor
    ) -> Scores:
        return Scores(
            auc=_area(success, self.area),
            precision=self._read(precision),
            normalised_precision=self._read(normalised),
            average_overlap=mean.item(),
            success_50=rates[0].item(),
            success_75=rates[1].item(),
            success_curve=success,
            precision_curve=precision,
            normalised_curve=normalised,
        )

    def _read(self, curve: Tensor) -> float:
        if self.precision is Reading.AREA:
            return _area(curve, self.area)
        return curve[round(PLACE * (len(curve) - 1))].item()

    def _repaired(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Return as many predictions as there are true boxes; NaN rows are misses."""
        missed = torch.full((max(len(truth) - len(predicted), 0), 4), float("nan")).double()
        given = predicted[: len(truth)].clone()
        given[:1] = truth[: len(given)][:1]
        good = known(given)
        if self.repeats_last:
            given = given[torch.arange(len(given)).where(good, 0).cummax(0).values]
        else:
            given[~good] = float("nan")
        return torch.cat([given, missed])

    def _adapted(self, boxes: Tensor, size: tuple[int, int] | None) -> Tensor:
        if self.rounded:
            boxes = boxes.round()
        if self.bounded and size is not None:
            # Not the part that is inside: a box that starts outside keeps its sides, as in the
            # toolkit of GOT-10k.
            far = torch.tensor([size[1], size[0]]).double() - self.origin
            near = torch.zeros(2).double() - self.origin
            start = boxes[:, :2].clamp(min=near, max=far)
            sides = torch.minimum(boxes[:, 2:].clamp(min=0), far - start)
            boxes = torch.cat([start, sides], dim=1)
        return boxes

    def _check(
        self,
        predicted: Tensor,
        truth: Tensor,
        absent: Tensor | None,
        size: tuple[int, int] | None,
    ) -> None:
        for what, boxes in (("predicted", predicted), ("true", truth)):
            if boxes.ndim != 2 or boxes.shape[1] != 4:
                raise ConfigError(
                    f"The {what} boxes have shape {list(boxes.shape)}, expected [n, 4].\n"
                    "Hint: one row per frame with x, y, width and height in pixels."
                )
        if absent is not None and absent.shape != truth.shape[:1]:
            raise ConfigError(
                f"The flags of absence have shape {list(absent.shape)}, expected "
                f"[{len(truth)}]: one per true box.\n"
                "Hint: pass None if the target is never out of sight."
            )
        if self.bounded and size is None:
            raise ConfigError(
                f"The rules of `{self.name}` need the size of the frames.\n"
                "Why: they compare boxes inside of the frame only.\n"
                "Hint: pass `size=(height, width)`."
            )


def _axis(points: int, last: float = 1.0) -> Tensor:
    return torch.arange(points).double() * last / (points - 1)


def _compared(guess: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return overlaps, centre errors in pixels, and in sides of the true boxes; NaN if unknown."""
    away = centres(guess) - centres(truth)
    return overlap(guess, truth), away.norm(dim=1), (away / truth[:, 2:]).norm(dim=1)


def _share_above(values: Tensor, thresholds: Tensor, *, strict: bool) -> Tensor:
    values = values[:, None]
    hits = values > thresholds if strict else values >= thresholds
    return hits.double().sum(0) / max(len(values), 1)


def _share_within(errors: Tensor, thresholds: Tensor) -> Tensor:
    return (errors[:, None] <= thresholds).double().sum(0) / max(len(errors), 1)


def _area(curve: Tensor, area: Area) -> float:
    if area is Area.TRAPEZIUM:
        return torch.trapezoid(curve, dx=1 / (len(curve) - 1)).item()
    return curve.mean().item()


OTB = Benchmark(name="otb")
"""OTB-100, one pass (Wu et al., PAMI 2015). The rules of its MATLAB code; UAV123 uses them too."""
LASOT = Benchmark(name="lasot", absent=Absent.MISSED)
"""LaSOT (Fan et al., CVPR 2019): as OTB, and every frame without the target is a miss."""
TRACKINGNET = Benchmark(
    name="trackingnet",
    strict=False,
    area=Area.TRAPEZIUM,
    error_points=21,
    precision=Reading.AREA,
    repeats_last=False,
    invalid=Invalid.MISSED,
    inside=False,
    rounded=True,
    origin=0,
)
"""TrackingNet (Müller et al., ECCV 2018), as its development kit computes it."""
GOT10K = Benchmark(
    name="got10k",
    overlap_points=101,
    counts_first=False,
    repeats_last=False,
    invalid=Invalid.LEFT_OUT,
    inside=False,
    absent=Absent.LEFT_OUT,
    bounded=True,
    pooled=True,
)
"""GOT-10k (Huang et al., PAMI 2021). Its scores are `average_overlap` and the two success rates;
it has no precision, which is computed as for OTB."""

BENCHMARKS = {rules.name: rules for rules in (OTB, LASOT, TRACKINGNET, GOT10K)}
"""Published rules by name."""
