"""What tasks have in common that follow targets through clips: measures, pictures and curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import lightning as L
import torch
from torch import Tensor, nn

from widthwise.data.clips import Clip
from widthwise.errors import DataError
from widthwise.measures import Measure
from widthwise.tasks.base import Chart, Sample
from widthwise.tracking.boxes import overlap
from widthwise.tracking.drawing import marked
from widthwise.tracking.measures import Benchmark, Judged, Scores
from widthwise.tracking.running import ScoredTracker, run_tracker

SHOWN = 3
"""Clips that samples are taken of."""

AUC = Measure(name="auc", title="AUC", unit="%", scale=100)
"""Area under the curve of the share of frames over the overlap of boxes."""
PRECISION = Measure(name="precision", title="precision", unit="%", scale=100)
"""Share of frames whose centre is at most 20 pixels off."""
NORMALISED = Measure(name="normalised_precision", title="normalised precision", unit="%", scale=100)
"""Share of frames whose centre is at most 0.2 sides of the true box off."""
SUCCESS = Measure(name="success_50", title="overlap above 0.5", unit="%", scale=100)
"""Share of frames whose box overlaps the true one by more than half."""

MEASURES = (AUC, PRECISION, NORMALISED, SUCCESS)
"""What is measured; the first is the headline."""


@runtime_checkable
class Follows(Protocol):
    """A task whose networks follow a target through a video."""

    def tracker(self, network: nn.Module) -> ScoredTracker:
        """Make a tracker of a network.

        Args:
            network: In evaluation mode, on the device it is to run on. Not changed.

        Returns:
            The tracker, to be started.
        """
        ...

    @property
    def benchmark(self) -> Benchmark:
        """By whose rules scores are taken."""
        ...


class ClipNumbers:
    """Numbers of clips, as `widthwise.data.batches.Numbered`: a module looks clips up itself.

    Args:
        count: How many.
    """

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def batch(self, numbers: Sequence[int], *, seed: int | None) -> Tensor:
        """Give numbers."""
        return torch.tensor(list(numbers))


@dataclass(frozen=True, kw_only=True, eq=False)
class Followed:
    """What a network made of a clip."""

    clip: Clip
    boxes: Tensor
    """It found, float64, shape ``[n, 4]``."""
    judged: Judged
    """Against the clip's own."""


def judge(benchmark: Benchmark, boxes: Tensor, clip: Clip) -> Judged:
    """Compare the boxes that a tracker has found with those of a clip."""
    return benchmark.judge(boxes, clip.boxes, absent=clip.absent, size=clip.size)


def named(scores: Scores) -> list[tuple[str, float]]:
    """Give the scores that are reported, by the names of their measures."""
    return [
        ("auc", scores.auc),
        ("precision", scores.precision),
        ("normalised_precision", scores.normalised_precision),
        ("success_50", scores.success_50),
    ]


def log_clip(
    module: L.LightningModule,
    clip: Clip,
    *,
    boxes: Tensor,
    loss: Callable[[], Tensor],
    benchmark: Benchmark,
) -> None:
    """Log what a test clip adds to the measures; nothing if none of its frames counts.

    Args:
        module: Is being validated.
        clip: Followed from its first frame.
        boxes: What was found.
        loss: Computes the test loss on it.
        benchmark: By whose rules.
    """
    judged = judge(benchmark, boxes, clip)
    if not judged.frames:
        return
    values = {"test_loss": loss()}
    values |= {f"test_{name}": torch.tensor(value) for name, value in named(judged.scores)}
    # Where all frames are one heap, a clip counts as often as it has frames.
    weight = judged.frames if benchmark.pooled else 1
    module.log_dict(values, on_epoch=True, batch_size=weight, sync_dist=True)


def with_truth(clips: Sequence[Clip], folder: str) -> Sequence[Clip]:
    """Leave out clips whose boxes are kept by the authors of a set.

    Args:
        clips: Annotated, or with their first box alone.
        folder: Where they are from, for the message.

    Returns:
        Those with boxes to compare with.

    Raises:
        DataError: If there are none.
    """
    judged = [clip for clip in clips if clip.has_truth]
    if not judged:
        raise DataError(
            f"No clip in `{folder}` has a box beyond its first frame.\n"
            "Why: what a tracker finds is compared with the true boxes.\n"
            "Hint: test on a part whose boxes are published, such as `val` of GOT-10k."
        )
    return judged


def followed(
    task: Follows, networks: Mapping[str, nn.Module], clips: Sequence[Clip]
) -> dict[str, list[Followed]]:
    """Follow the targets of some clips with every network.

    Args:
        task: Makes trackers, and says by whose rules they are judged.
        networks: Title -> network, brought to a GPU meanwhile if there is one, and left where it is
            and in the mode it is in.
        clips: From the first box of each.

    Returns:
        Title -> one per clip.
    """
    found: dict[str, list[Followed]] = {}
    for title, network in networks.items():
        training, place = network.training, next(network.parameters()).device
        network.eval().to("cuda" if torch.cuda.is_available() else place)
        boxes = [
            run_tracker(task.tracker(network), clip.frames(), clip.boxes[0]).boxes for clip in clips
        ]
        network.train(training).to(place)
        found[title] = [
            Followed(clip=clip, boxes=each, judged=judge(task.benchmark, each, clip))
            for clip, each in zip(clips, boxes, strict=True)
        ]
    return found


def pictures(found: Mapping[str, Sequence[Followed]]) -> Sequence[Sequence[Sample]]:
    """Show a late frame of each clip with the true box and that of every network.

    Args:
        found: Of `followed`.

    Returns:
        A row per clip, with the AUC on the whole clip.
    """
    return [list(map(_picture, found, row)) for row in zip(*found.values(), strict=True)]


def _picture(title: str, result: Followed) -> Sample:
    number = len(result.clip) * 3 // 4
    truth, box = result.clip.boxes[number], result.boxes[number]
    shared = float(overlap(box[None], truth[None]))
    return Sample(
        title=title,
        image=marked(result.clip.images[number], truth=truth, found=box),
        caption=f"{AUC.write(result.judged.scores.auc)}, overlap here {shared:.2f}",
    )


def curves(found: Mapping[str, Sequence[Followed]], benchmark: Benchmark) -> Sequence[Chart]:
    """Draw success over overlap and precision over distance.

    Args:
        found: Of `followed`, on all test clips.
        benchmark: By whose rules.

    Returns:
        Both.
    """
    scores = {
        title: benchmark.summary([each.judged for each in results])
        for title, results in found.items()
    }
    return (
        Chart(
            title="Success over overlap",
            across="overlap of the boxes",
            up="share of frames above it",
            places=benchmark.overlap_axis.tolist(),
            lines={title: one.success_curve.tolist() for title, one in scores.items()},
        ),
        Chart(
            title="Precision over distance",
            across="distance of the centres (pixels)",
            up="share of frames within it",
            places=benchmark.pixel_axis.tolist(),
            lines={title: one.precision_curve.tolist() for title, one in scores.items()},
        ),
    )
