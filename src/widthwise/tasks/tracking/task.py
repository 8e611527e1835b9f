"""Visual tracking as a task: what jobs talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.data.batches import Numbered, derived_seed, eval_batches, train_batches
from widthwise.data.clip_layouts import open_clips
from widthwise.data.clips import Clip
from widthwise.data.frame_pairs import ClipPairs
from widthwise.data.rendering.clips import render_clip
from widthwise.data.rendering.pairs import rendered_pairs
from widthwise.data.rendering.stills import bundled_stills, stills_in
from widthwise.data.rendering.studio import Still, Studio
from widthwise.errors import ConfigError, DataError
from widthwise.measures import Measure
from widthwise.models.siamese import SEARCH_SIDE, STRIDE, TEMPLATE_SIDE
from widthwise.tasks.base import Chart, Sample
from widthwise.tasks.fit import measured
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig
from widthwise.tasks.tracking.drawing import marked
from widthwise.tasks.tracking.module import TrackingModule, judge
from widthwise.tasks.tracking.pairs import Inputs, balanced_loss, labels, training_pair
from widthwise.tasks.tracking.settings import TrackingSettings
from widthwise.tracking.boxes import overlap
from widthwise.tracking.measures import BENCHMARKS, Benchmark, Judged

EXAMPLES = 4
"""Pairs on which networks are traced and cuts are proven."""
SHOWN = 3
"""Clips that samples are taken of."""
_RENDER_SEED = 0
"""Rendered pairs and clips belong to the task: no seed of a run changes them."""

AUC = Measure(name="auc", title="AUC", unit="%", scale=100)
"""Area under the curve of the share of frames over the overlap of boxes."""
PRECISION = Measure(name="precision", title="precision", unit="%", scale=100)
"""Share of frames whose centre is at most 20 pixels off."""
NORMALISED = Measure(name="normalised_precision", title="normalised precision", unit="%", scale=100)
"""Share of frames whose centre is at most 0.2 sides of the true box off."""
SUCCESS = Measure(name="success_50", title="overlap above 0.5", unit="%", scale=100)
"""Share of frames whose box overlaps the true one by more than half."""


class Tracking:
    """Visual tracking, as `widthwise.tasks.base.Task`.

    Args:
        settings: Name the clips and the rules.
    """

    measures: tuple[Measure, ...] = (AUC, PRECISION, NORMALISED, SUCCESS)

    def __init__(self, settings: TrackingSettings) -> None:
        self.name = settings.name
        self.settings = settings

    @cached_property
    def pairs(self) -> Numbered:
        """What is trained on, rendered or opened when it is first asked for.

        Raises:
            DataError: If photographs or clips are not there, or damaged.
        """
        settings = self.settings
        if settings.train_folder is not None:
            return ClipPairs(
                open_clips(Path(settings.train_folder)), count=settings.pairs, gap=settings.gap
            )
        return rendered_pairs(
            self._stills("train"),
            settings.render,
            count=settings.pairs,
            seed=_RENDER_SEED,
            progress=_shown,
        )

    @cached_property
    def clips(self) -> Sequence[Clip]:
        """What is tested on.

        Raises:
            DataError: If photographs or clips are not there, or damaged.
        """
        settings = self.settings
        if settings.test_folder is not None:
            return self._annotated(open_clips(Path(settings.test_folder)))
        studio = Studio(self._stills("test"), settings.render)
        return tuple(
            render_clip(studio, _RENDER_SEED, number, length=settings.test_length)
            for number in range(settings.test_clips)
        )

    def _annotated(self, clips: Sequence[Clip]) -> Sequence[Clip]:
        """Leave out clips whose boxes are kept by the authors of a set."""
        judged = [clip for clip in clips if clip.has_truth]
        if not judged:
            raise DataError(
                f"No clip in `{self.settings.test_folder}` has a box beyond its first frame.\n"
                "Why: what a tracker finds is compared with the true boxes.\n"
                "Hint: test on a part whose boxes are published, such as `val` of GOT-10k."
            )
        return judged

    def _stills(self, split: str) -> tuple[Still, ...]:
        settings = self.settings
        if settings.photographs is None:
            return bundled_stills(split)
        regions = None if settings.regions is None else Path(settings.regions)
        return stills_in(Path(settings.photographs), split, regions=regions)

    @property
    def test_items(self) -> int:
        """Number of test clips."""
        return len(self.clips)

    def example(self) -> Inputs:
        """Return a few templates ``[n, 3, 64, 64]`` and search crops ``[n, 3, 128, 128]``."""
        inputs, _ = training_pair(self.pairs.batch(range(EXAMPLES), seed=0), seed=0)
        return inputs

    def item(self) -> None:
        """Return nothing: what a frame takes depends on the tracker, not on the network alone."""
        return None

    def check(self, network: nn.Module) -> None:
        """Find out whether a network compares templates with search crops.

        Args:
            network: Not changed, and left in the mode it is in.

        Raises:
            ConfigError: If it does not.
            DataError: If photographs or clips are missing or damaged.
        """
        hint = (
            "Hint: `widthwise/siamese` does, on its own backbone or on one of timm's: "
            "`--model.options.backbone resnet18`."
        )
        lacking = [name for name in ("features", "compare") if not hasattr(network, name)]
        if lacking:
            raise ConfigError(
                f"The network has no method `{lacking[0]}`, which a tracker calls.\n"
                "Why: the features of the target are computed once per video, and compared with "
                f"those of every frame.\n{hint}"
            )
        template, search = self.example()
        training = network.training
        try:
            with torch.no_grad():
                scores = network.eval()(template, search)
        except (RuntimeError, ValueError, TypeError) as error:
            raise ConfigError(
                f"The network does not run on a template and a search crop: {error}\n{hint}"
            ) from error
        finally:
            network.train(training)
        shape = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        square = isinstance(shape, list) and len(shape) == 4 and shape[2] == shape[3]
        if not square or shape[:2] != [EXAMPLES, 1]:
            raise ConfigError(
                f"The network gives {shape} for {EXAMPLES} pairs, expected scores "
                f"[{EXAMPLES}, 1, n, n].\n{hint}"
            )

    def batch(self, seed: int) -> tuple[Inputs, Tensor]:
        """Return one training batch.

        Args:
            seed: Decides completely what is in it.

        Returns:
            Templates and search crops, and how far the target is from the middle, in pixels.
        """
        seed = derived_seed(seed)
        generator = torch.Generator().manual_seed(seed)
        numbers = torch.randperm(len(self.pairs), generator=generator)[: self.settings.batch_size]
        return training_pair(self.pairs.batch(numbers.tolist(), seed=seed), seed=seed)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the logistic loss in which target and surroundings weigh the same."""
        return balanced_loss(
            outputs, labels(target, cells=outputs.shape[-1], radius=self.settings.radius)
        )

    def module(
        self,
        network: nn.Module,
        stage: StageConfig,
        *,
        seed: int,
        hardware: HardwareConfig,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> TrackingModule:
        """Wrap a network for one stage of training; see `widthwise.tasks.base.Task`.

        Args:
            network: Trained in place.
            stage: Optimizer.
            seed: Of the run.
            hardware: Memory format, and whether training steps are compiled.
            carried: State of an earlier optimizer to start with.
            teacher: Has no use here.

        Returns:
            The module.

        Raises:
            ConfigError: If the stage asks for a teacher.
        """
        if stage.distil:
            raise ConfigError(
                f"`distil` is {stage.distil:g}, but tracking has no use for a teacher.\n"
                "Why: scores of places are right or wrong; a teacher's say no more.\n"
                "Hint: set `distil: 0`."
            )
        return TrackingModule(
            network,
            clips=self.clips,
            benchmark=self._benchmark,
            radius=self.settings.radius,
            gap=self.settings.gap,
            stage=stage,
            seed=seed,
            memory_format=hardware.memory_format,
            call=hardware.caller(network),
            carried=carried,
        )

    def train(self, seed: int) -> Iterable[Any]:
        """Return the loader of training pairs."""
        settings = self.settings
        return train_batches(
            self.pairs, batch_size=settings.batch_size, seed=seed, workers=settings.workers
        )

    def test(self) -> Iterable[Any]:
        """Return the loader of the numbers of test clips."""
        return eval_batches(_Numbers(len(self.clips)), batch_size=1)

    def evaluate(self, network: nn.Module, hardware: HardwareConfig) -> dict[str, float]:
        """Measure a network on the test clips, in the precision it was trained in.

        Args:
            network: Its weights are brought to the memory format of the hardware.
            hardware: Devices and number formats.

        Returns:
            Scores by the names of their measures, as shares.
        """
        module = self.module(network, StageConfig(epochs=1), seed=0, hardware=hardware)
        return measured(module, self.measures, test=self.test(), hardware=hardware)

    def samples(self, networks: Mapping[str, nn.Module]) -> Sequence[Sequence[Sample]]:
        """Show late frames of test clips with the true box and that of every network.

        Args:
            networks: Title -> network, which is used where it is and left in the mode it is in.

        Returns:
            A row per clip, with the AUC on the whole clip.
        """
        tracked = self._tracked(networks, self.clips[:SHOWN])
        rows = []
        for place, clip in enumerate(self.clips[:SHOWN]):
            number = len(clip) * 3 // 4
            truth = clip.boxes[number]
            row = []
            for title, results in tracked.items():
                boxes, judged = results[place]
                shared = float(overlap(boxes[number][None], truth[None]))
                row.append(
                    Sample(
                        title=title,
                        image=marked(clip.images[number], truth=truth, found=boxes[number]),
                        caption=f"{AUC.write(judged.scores.auc)}, overlap here {shared:.2f}",
                    )
                )
            rows.append(row)
        return rows

    def charts(self, networks: Mapping[str, nn.Module]) -> Sequence[Chart]:
        """Draw success over overlap and precision over distance, over all test clips.

        Args:
            networks: As of `samples`.

        Returns:
            Both.
        """
        benchmark = self._benchmark
        scores = {
            title: benchmark.summary([judged for _, judged in results])
            for title, results in self._tracked(networks, self.clips).items()
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

    @property
    def _benchmark(self) -> Benchmark:
        return BENCHMARKS[self.settings.rules.value]

    def _tracked(
        self, networks: Mapping[str, nn.Module], clips: Sequence[Clip]
    ) -> dict[str, list[tuple[Tensor, Judged]]]:
        """Boxes and scores of every network on every clip; modes are left as they were."""
        found = {}
        for title, network in networks.items():
            training = network.training
            module = self.module(
                network.eval(), StageConfig(epochs=1), seed=0, hardware=HardwareConfig()
            )
            found[title] = [(module.tracked(clip).boxes, clip) for clip in clips]
            network.train(training)
        return {
            title: [(boxes, judge(self._benchmark, boxes, clip)) for boxes, clip in results]
            for title, results in found.items()
        }

    def facts(self) -> Mapping[str, Any]:
        """Say what the network takes and gives."""
        settings = self.settings
        return {
            "data": settings.train_folder or settings.photographs or settings.dataset.value,
            "input": "template and search crop, pixels / 255; the output are scores of places",
            "template_side": TEMPLATE_SIDE,
            "search_side": SEARCH_SIDE,
            "stride": STRIDE,
            "rules": settings.rules.value,
        }


class _Numbers:
    """Numbers of clips, as `Numbered`: a module looks its clips up itself.

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


def _shown(steps: Iterable[int]) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    screen = Console(stderr=True)
    return track(steps, "rendering pairs", console=screen, transient=True)
