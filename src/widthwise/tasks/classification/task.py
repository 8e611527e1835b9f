"""Image classification as a task: what jobs talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.nn import functional

from widthwise.data import ImageClasses, load_dataset
from widthwise.data.batches import derived_seed, eval_batches, train_batches
from widthwise.errors import ConfigError, DataError
from widthwise.measures import Measure
from widthwise.tasks.base import Chart, Sample
from widthwise.tasks.checking import require_outputs
from widthwise.tasks.classification.module import (
    ACCURACY,
    ClassificationModule,
    Normalise,
    augmented,
)
from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.fit import measured
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.stage import StageConfig

EXAMPLES = 4
"""Images on which networks are traced and cuts are proven."""


class Classification:
    """Image classification, as `widthwise.tasks.base.Task`.

    Args:
        settings: Name the images and say how they are varied.
    """

    name = "classification"
    measures: tuple[Measure, ...] = (ACCURACY,)

    def __init__(self, settings: ClassificationSettings) -> None:
        self.settings = settings

    @cached_property
    def data(self) -> ImageClasses:
        """The data set, loaded when it is first asked for.

        Raises:
            ConfigError: If there is no such data set, or it has other channels than means are given
                for.
            DataError: If it is not there, or damaged.
        """
        folder = self.settings.folder
        loaded = load_dataset(
            self.settings.dataset,
            folder=None if folder is None else Path(folder),
            download=self.settings.download,
            image_size=self.settings.image_size,
            whole=self.settings.whole,
        )
        for name in ("mean", "std"):
            values = getattr(self.settings, name)
            if values is not None and len(values) != (channels := loaded.image_shape[0]):
                raise ConfigError(
                    f"`task.{name}` has {len(values)} values, and images of "
                    f"`{self.settings.dataset}` have {channels} channels."
                )
        return replace(
            loaded,
            mean=_in_bytes(self.settings.mean) or loaded.mean,
            std=_in_bytes(self.settings.std) or loaded.std,
        )

    @property
    def test_items(self) -> int:
        """Number of test images."""
        return len(self.data.test)

    def example(self) -> Tensor:
        """Return a few training images, normalised as in training. Shape ``[n, c, h, w]``."""
        return self._normalise(self.data.train.first(EXAMPLES))

    def item(self) -> None:
        """Images are small, and what one takes is what `widthwise bench` measures."""

    def check(self, network: nn.Module) -> None:
        """Find out whether a network takes these images and gives a score per class.

        Args:
            network: Not changed, and left in the mode it is in.

        Raises:
            ConfigError: If it does not.
            DataError: If the data set is not there, or damaged as far as can be told without
                training; sets in memory are loaded for that.
        """
        channels, height, width = self.data.image_shape
        classes = len(self.data.classes)
        problem = (
            f"The network does not fit the data set `{self.settings.dataset}` of "
            f"{channels}x{height}x{width} images in {classes} classes"
        )
        hint = (
            "Hint: set the network's constructor arguments in `model.options`, such as "
            f"`--model.options.in_channels {channels}` and `--model.options.num_classes {classes}`."
        )
        require_outputs(network, self.example(), [classes], problem=problem, hint=hint)
        # Making the loaders is what loads and checks sets that are decoded into memory.
        self.train(seed=0)
        self.test()

    def batch(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return one training batch, drawn, varied and normalised as in training.

        Args:
            seed: Decides completely what is in it.

        Returns:
            Images ``[b, c, h, w]`` and class numbers ``[b]``; never mixed.

        Raises:
            DataError: If a batch is larger than the training split.
        """
        count, size = len(self.data.train), self.settings.batch_size
        if size > count:
            raise DataError(
                f"A batch of {size} images is larger than the training split of {count}.\n"
                f"Hint: set `task.batch_size` to at most {count}."
            )
        seed = derived_seed(seed)
        numbers = np.random.default_rng(seed).permutation(count)[:size].tolist()
        images, labels = self.data.train.batch(numbers, seed=seed)
        return self._normalise(augmented(images, self.settings, seed=seed)), labels

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean cross-entropy of scores ``[b, classes]`` and class numbers ``[b]``."""
        return functional.cross_entropy(outputs.float(), target)

    def module(
        self,
        network: nn.Module,
        stage: StageConfig,
        *,
        seed: int,
        hardware: HardwareConfig,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> ClassificationModule:
        """Wrap a network for one stage of training; see `widthwise.tasks.base.Task`.

        Args:
            network: Trained in place.
            stage: Optimizer, and the weight of the teacher.
            seed: Of the run.
            hardware: Memory format, and whether training steps are compiled.
            carried: State of an earlier optimizer to start with.
            teacher: Gives scores for the same images; a copy of it is used, in evaluation mode.

        Returns:
            The module.

        Raises:
            ConfigError: If the stage asks for a teacher and there is none.
        """
        if stage.distil and teacher is None:
            raise ConfigError(
                f"`distil` is {stage.distil:g}, and there is no teacher to distil from.\n"
                "Hint: set `distil: 0`, or choose arms that have a teacher."
            )
        return ClassificationModule(
            network,
            data=self.data,
            settings=self.settings,
            stage=stage,
            seed=seed,
            memory_format=hardware.memory_format,
            call=hardware.caller(network),
            carried=carried,
            teacher=teacher,
        )

    def train(self, seed: int) -> Iterable[Any]:
        """Return the loader of raw training images and their labels."""
        return train_batches(
            self.data.train,
            batch_size=self.settings.batch_size,
            seed=seed,
            workers=self.settings.workers,
        )

    def test(self) -> Iterable[Any]:
        """Return the loader of raw test images and their labels."""
        return eval_batches(
            self.data.test, batch_size=self.settings.batch_size, workers=self.settings.workers
        )

    def evaluate(self, network: nn.Module, hardware: HardwareConfig) -> dict[str, float]:
        """Measure a network on the test split, in the precision it was trained in.

        Args:
            network: Its weights are brought to the memory format of the hardware.
            hardware: Devices and number formats.

        Returns:
            The accuracy, in [0, 1].
        """
        module = self.module(network, StageConfig(epochs=1), seed=0, hardware=hardware)
        return measured(module, self.measures, test=self.test(), hardware=hardware)

    def samples(self, networks: Mapping[str, nn.Module]) -> Sequence[Sequence[Sample]]:
        """Show nothing: a class is not a thing to look at."""
        return ()

    def charts(self, networks: Mapping[str, nn.Module]) -> Sequence[Chart]:
        """Return nothing: the measures say it all; see `widthwise.tasks.base.Task`."""
        return ()

    def facts(self) -> Mapping[str, Any]:
        """Name the classes, and say how images are normalised."""
        return {
            "data": self.settings.dataset,
            "classes": list(self.data.classes),
            "input": "(images - mean) / std per channel, images in 0..255",
            "mean": list(self.data.mean),
            "std": list(self.data.std),
        }

    def _normalise(self, images: Tensor) -> Tensor:
        return Normalise(self.data.mean, self.data.std)(images)


def _in_bytes(values: Sequence[float] | None) -> tuple[float, ...]:
    return tuple(255 * value for value in values or ())
