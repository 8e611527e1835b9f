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
from widthwise.errors import ConfigError
from widthwise.measures import Measure
from widthwise.models.siamese import SEARCH_SIDE, STRIDE, TEMPLATE_SIDE
from widthwise.tasks.base import Chart, Sample
from widthwise.tasks.fit import measured
from widthwise.tasks.following import (
    MEASURES,
    SHOWN,
    ClipNumbers,
    curves,
    followed,
    pictures,
    with_truth,
)
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig
from widthwise.tasks.tracking.module import TrackingModule, siamese_of
from widthwise.tasks.tracking.pairs import Inputs, balanced_loss, labels, training_pair
from widthwise.tasks.tracking.settings import TrackingSettings
from widthwise.tracking.measures import BENCHMARKS, Benchmark
from widthwise.tracking.siamese import Siamese

EXAMPLES = 4
"""Pairs on which networks are traced and cuts are proven."""
_RENDER_SEED = 0
"""Rendered pairs and clips belong to the task: no seed of a run changes them."""


class Tracking:
    """Visual tracking, as `widthwise.tasks.base.Task`.

    Args:
        settings: Name the clips and the rules.
    """

    measures: tuple[Measure, ...] = MEASURES

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
            gap=settings.gap,
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
            return with_truth(open_clips(Path(settings.test_folder)), settings.test_folder)
        studio = Studio(self._stills("test"), settings.render)
        return tuple(
            render_clip(studio, _RENDER_SEED, number, length=settings.test_length)
            for number in range(settings.test_clips)
        )

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
        count = min(EXAMPLES, len(self.pairs))
        inputs, _ = training_pair(self.pairs.batch(range(count), seed=0), seed=0)
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
        if not square or shape[:2] != [len(search), 1]:
            raise ConfigError(
                f"The network gives {shape} for {len(search)} pairs, expected scores "
                f"[{len(search)}, 1, n, n].\n{hint}"
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
            benchmark=self.benchmark,
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
        return eval_batches(ClipNumbers(len(self.clips)), batch_size=1)

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
            networks: Title -> network, left where it is and in the mode it is in.

        Returns:
            A row per clip, with the AUC on the whole clip.
        """
        return pictures(followed(self, networks, self.clips[:SHOWN]))

    def charts(self, networks: Mapping[str, nn.Module]) -> Sequence[Chart]:
        """Draw success over overlap and precision over distance, over all test clips.

        Args:
            networks: As of `samples`.

        Returns:
            Both.
        """
        return curves(followed(self, networks, self.clips), self.benchmark)

    @property
    def benchmark(self) -> Benchmark:
        """By whose rules scores are taken."""
        return BENCHMARKS[self.settings.rules.value]

    def tracker(self, network: nn.Module) -> Siamese:
        """Make a tracker of a network; see `widthwise.tasks.following.Follows`."""
        return siamese_of(network)

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


def _shown(steps: Iterable[int]) -> Iterable[int]:
    from rich.console import Console
    from rich.progress import track

    screen = Console(stderr=True)
    return track(steps, "rendering pairs", console=screen, transient=True)
