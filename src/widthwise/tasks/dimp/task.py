"""Training DiMP as a task: what jobs talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from widthwise.data.batches import derived_seed, eval_batches, train_batches
from widthwise.data.clip_samples import ClipSamples, SampleSettings
from widthwise.data.clips import Clip
from widthwise.errors import ConfigError
from widthwise.measures import Measure
from widthwise.models.dimp.network import STRIDES, Dimp, example_inputs
from widthwise.tasks.base import Chart, Sample
from widthwise.tasks.dimp.module import (
    DimpModule,
    Inputs,
    Target,
    dimp_tracker,
    prepared,
    total_loss,
)
from widthwise.tasks.dimp.settings import DimpTaskSettings
from widthwise.tasks.dimp.sources import clips_to_judge, training_pool
from widthwise.tasks.fit import measured
from widthwise.tasks.following import (
    MEASURES,
    SHOWN,
    ClipNumbers,
    curves,
    followed,
    pictures,
)
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig
from widthwise.tracking.dimp import DimpTracker
from widthwise.tracking.measures import BENCHMARKS, Benchmark

EXAMPLES = 2
"""Sequences on which networks are traced and cuts are proven."""


class DimpTraining:
    """Training DiMP, as `widthwise.tasks.base.Task`.

    Args:
        settings: Name the clips and the rules.
    """

    measures: tuple[Measure, ...] = MEASURES

    def __init__(self, settings: DimpTaskSettings) -> None:
        self.name = settings.name
        self.settings = settings
        self.sample = SampleSettings(
            frames=settings.frames,
            gap=settings.gap,
            side=settings.side,
            proposals=settings.proposals,
        )

    @cached_property
    def drawn(self) -> ClipSamples:
        """What is trained on.

        Raises:
            DataError: If clips are not there, or damaged.
        """
        pools = [training_pool(source) for source in self.settings.sources]
        return ClipSamples(pools, count=self.settings.samples, settings=self.sample)

    @cached_property
    def clips(self) -> Sequence[Clip]:
        """What is tested on.

        Raises:
            DataError: If clips are not there, or damaged.
        """
        return clips_to_judge(self.settings)

    @property
    def test_items(self) -> int:
        """Number of test clips."""
        return len(self.clips)

    def example(self) -> Inputs:
        """Return two sequences of one frame to learn on and one to look at, as a tracker pays."""
        return example_inputs(side=self.settings.side, batch=EXAMPLES)

    def item(self) -> None:
        """Return nothing: what a frame takes depends on the tracker, not on the network alone."""
        return None

    def check(self, network: nn.Module) -> None:
        """Find out whether a network is a DiMP, and whether the clips are there.

        Args:
            network: Not changed.

        Raises:
            ConfigError: If it is another network.
            DataError: If clips are missing or damaged.
        """
        if not isinstance(network, Dimp):
            raise ConfigError(
                f"The task `dimp` trains a `Dimp`, and the network is a "
                f"`{type(network).__name__}`.\n"
                "Why: its tracker calls the backbone, the classifier and the box branch one by "
                "one.\n"
                "Hint: `widthwise/dimp50` is one, on any backbone: `--model.options.backbone "
                "resnet50`. Siamese networks are trained by the task `tracking`."
            )
        _ = self.drawn, self.clips

    def batch(self, seed: int) -> tuple[Inputs, Target]:
        """Return one training batch.

        Args:
            seed: Decides completely what is in it.

        Returns:
            What the network takes; where the target is, and the boxes that are judged.
        """
        numbers = range(self.settings.batch_size)
        return prepared(self.drawn.batch(numbers, seed=derived_seed(seed)))

    def loss(self, outputs: Any, target: Target) -> Tensor:
        """Return the loss of scores and boxes, weighted as published."""
        return total_loss(outputs, target)

    def module(
        self,
        network: nn.Module,
        stage: StageConfig,
        *,
        seed: int,
        hardware: HardwareConfig,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> DimpModule:
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
                f"`distil` is {stage.distil:g}, but DiMP has no use for a teacher.\n"
                "Why: scores are those of a filter that every network makes for itself.\n"
                "Hint: set `distil: 0`."
            )
        assert isinstance(network, Dimp)
        return DimpModule(
            network,
            clips=self.clips,
            benchmark=self.benchmark,
            samples=self.sample,
            stage=stage,
            seed=seed,
            memory_format=hardware.memory_format,
            call=hardware.caller(network),
            carried=carried,
        )

    def train(self, seed: int) -> Iterable[Any]:
        """Return the loader of training samples."""
        settings = self.settings
        return train_batches(
            self.drawn, batch_size=settings.batch_size, seed=seed, workers=settings.workers
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

    def tracker(self, network: nn.Module) -> DimpTracker:
        """Make a tracker of a network; see `widthwise.tasks.following.Follows`."""
        assert isinstance(network, Dimp)
        return dimp_tracker(network, self.sample)

    def facts(self) -> Mapping[str, Any]:
        """Say what the network takes and gives."""
        return {
            "data": [source.folder for source in self.settings.sources],
            "input": "crops, pixels / 255, and boxes in pixels of the crops; the outputs are "
            "scores of places and overlaps of boxes",
            "side": self.sample.side,
            "context": self.sample.context,
            "stride": STRIDES[1],
            "rules": self.settings.rules.value,
        }

    @property
    def benchmark(self) -> Benchmark:
        """By whose rules scores are taken."""
        return BENCHMARKS[self.settings.rules.value]
