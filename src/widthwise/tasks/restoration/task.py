"""Restoration as a task: what jobs talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.data.batches import derived_seed, eval_batches, train_batches
from widthwise.data.crops import Crops, Whole
from widthwise.data.pairs import Pair, SomePair, bundled_pairs, pairs_in
from widthwise.errors import ConfigError
from widthwise.measures import Measure
from widthwise.tasks.base import Chart, Sample
from widthwise.tasks.checking import require_outputs
from widthwise.tasks.fit import measured
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.restoration.degradation import Degradation
from widthwise.tasks.restoration.module import RestorationModule, distance, training_pair
from widthwise.tasks.restoration.quality import PEAK, PSNR, SSIM, Comparison, as_shown
from widthwise.tasks.restoration.settings import Place, RestorationSettings
from widthwise.tasks.stage import StageConfig

EXAMPLES = 4
"""Crops on which networks are traced and cuts are proven."""
SHOWN = 3
"""Photographs that samples are taken of."""
SHOWN_SIDE = 128
"""Height and width of samples in pixels."""


class Restoration:
    """Restoration of photographs, as `widthwise.tasks.base.Task`.

    Args:
        settings: Name the photographs, the crops and the loss.
        degradation: What is to be undone.
    """

    measures: tuple[Measure, ...] = (PSNR, SSIM)

    def __init__(self, settings: RestorationSettings, degradation: Degradation) -> None:
        self.name = settings.name
        self.settings = settings
        self.degradation = degradation

    @cached_property
    def train_pairs(self) -> Sequence[SomePair]:
        """Photographs to train on, loaded when they are first asked for.

        Raises:
            DataError: If they are not there, damaged, or do not belong together.
        """
        return self._pairs("train", self.settings.train_folder)

    @cached_property
    def test_pairs(self) -> Sequence[SomePair]:
        """Photographs to test on, loaded when they are first asked for.

        Raises:
            DataError: If they are not there, damaged, or do not belong together.
        """
        return self._pairs("test", self.settings.test_folder)

    def _pairs(self, split: str, folder: str | None) -> Sequence[SomePair]:
        settings, scale = self.settings, self.degradation.scale
        if settings.dataset is Place.photographs:
            pairs = bundled_pairs(colour=settings.colour, scale=scale)
            return pairs.train if split == "train" else pairs.test
        return pairs_in(
            Path(folder or f"{settings.folder}/{split}"),
            setting=f"`task.folder` or `task.{split}_folder`",
            colour=settings.colour,
            scale=scale,
        )

    @cached_property
    def crops(self) -> Crops:
        """What is trained on.

        Raises:
            DataError: If a photograph is smaller than a crop.
        """
        return Crops(
            self.train_pairs,
            side=self.settings.patch,
            count=self.settings.samples_per_epoch,
            scale=self.degradation.scale,
        )

    @cached_property
    def whole(self) -> Whole:
        """What is tested on."""
        return Whole(
            self.test_pairs, largest_side=self.settings.test_side, scale=self.degradation.scale
        )

    @property
    def test_items(self) -> int:
        """Number of test photographs."""
        return len(self.whole)

    def example(self) -> Tensor:
        """Return a few degraded training crops, shape ``[n, c, h, w]``, of 0 to 1."""
        inputs, _ = training_pair(*self.crops.first(EXAMPLES), self.degradation, seed=0)
        return inputs

    def item(self) -> Tensor:
        """Return the first test photograph, or as much of it as is restored at once."""
        given = self.whole.pairs[0].given[None].float() / PEAK
        return given[..., : self.settings.tile, : self.settings.tile]

    def check(self, network: nn.Module) -> None:
        """Find out whether a network gives images of the size and channels of clean ones.

        Args:
            network: Not changed, and left in the mode it is in.

        Raises:
            ConfigError: If it does not.
            DataError: If photographs are missing, damaged or too small.
        """
        inputs, clean = training_pair(*self.crops.first(EXAMPLES), self.degradation, seed=0)
        channels = inputs.shape[1]
        kind = "RGB" if channels == 3 else "grey"
        problem = f"The network does not fit {kind} images of {channels} channels"
        advice = self.degradation.advice.format(channels=channels, scale=self.degradation.scale)
        hint = (
            f"Hint: set the network's constructor arguments in `model.options`, such as {advice}."
        )
        require_outputs(network, inputs, clean.shape[1:], problem=problem, hint=hint)

    def batch(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return one training batch.

        Args:
            seed: Decides completely what is in it.

        Returns:
            Degraded crops and clean ones ``[b, c, patch, patch]``, on the scale of 0 to 1.
        """
        seed = derived_seed(seed)
        given, clean, _ = self.crops.batch(range(self.settings.batch_size), seed=seed)
        return training_pair(given, clean, self.degradation, seed=seed)

    def loss(self, outputs: Tensor, target: Tensor) -> Tensor:
        """Return the mean distance of outputs from clean crops."""
        return distance(outputs, target, self.settings.loss)

    def module(
        self,
        network: nn.Module,
        stage: StageConfig,
        *,
        seed: int,
        hardware: HardwareConfig,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> RestorationModule:
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
                f"`distil` is {stage.distil:g}, but restoration has no use for a teacher.\n"
                "Why: a teacher's probabilities of classes say more than a label; its image says "
                "less than the clean one.\nHint: set `distil: 0`."
            )
        return RestorationModule(
            network,
            settings=self.settings,
            degradation=self.degradation,
            stage=stage,
            seed=seed,
            memory_format=hardware.memory_format,
            call=hardware.caller(network),
            carried=carried,
        )

    def train(self, seed: int) -> Iterable[Any]:
        """Return the loader of training crops."""
        settings = self.settings
        return train_batches(
            self.crops, batch_size=settings.batch_size, seed=seed, workers=settings.workers
        )

    def test(self) -> Iterable[Any]:
        """Return the loader of test photographs and their numbers."""
        return eval_batches(self.whole, batch_size=1)

    def evaluate(self, network: nn.Module, hardware: HardwareConfig) -> dict[str, float]:
        """Measure a network on the test photographs, in the precision it was trained in.

        Args:
            network: Its weights are brought to the memory format of the hardware.
            hardware: Devices and number formats.

        Returns:
            Mean PSNR in dB and mean SSIM of all photographs.
        """
        module = self.module(network, StageConfig(epochs=1), seed=0, hardware=hardware)
        return measured(module, self.measures, test=self.test(), hardware=hardware)

    def restore(self, network: nn.Module, pixels: Tensor, hardware: HardwareConfig) -> Any:
        """Let a network restore an image as it is, with the tiles and the ensemble of the settings.

        Args:
            network: Left in the mode it is in; its weights are brought to the memory format of the
                hardware.
            pixels: uint8, shape ``[c, h, w]``.
            hardware: Memory format; the network computes where it is.

        Returns:
            uint8 array, shape ``[h, w]`` or ``[h, w, 3]``.
        """
        module = self.module(network, StageConfig(epochs=1), seed=0, hardware=hardware)
        training, device = network.training, next(network.parameters()).device
        module.eval()
        with torch.inference_mode():
            output = module((pixels.to(device).float() / PEAK)[None])[0]
        network.train(training)
        return _image(output.cpu() * PEAK)

    def samples(self, networks: Mapping[str, nn.Module]) -> Sequence[Sequence[Sample]]:
        """Show the middle of test photographs: degraded, from every network, and clean.

        Args:
            networks: Title -> network, which is used where it is and left in the mode it is in.

        Returns:
            A row per photograph, with the PSNR of what is shown.
        """
        modes = {title: network.training for title, network in networks.items()}
        stage = StageConfig(epochs=1)
        modules = {
            title: RestorationModule(
                network.eval(),
                settings=self.settings,
                degradation=self.degradation,
                stage=stage,
                seed=0,
            )
            for title, network in networks.items()
        }
        rows = [self._row(number, modules) for number in range(min(SHOWN, len(self.whole)))]
        for title, network in networks.items():
            network.train(modes[title])
        return rows

    def charts(self, networks: Mapping[str, nn.Module]) -> Sequence[Chart]:
        """Return nothing: the measures say it all; see `widthwise.tasks.base.Task`."""
        return ()

    def facts(self) -> Mapping[str, Any]:
        """Say what the network takes and gives, and how good an image is without it."""
        simply = [
            (self.degradation.unrestored(pair.given, number) * PEAK, pair.clean)
            for number, pair in enumerate(self.whole.pairs)
        ]
        compared, count = self.degradation.comparison, len(simply)
        return {
            "data": self.settings.folder
            or self.settings.test_folder
            or self.settings.dataset.value,
            **self.degradation.facts(),
            "colour": self.settings.colour,
            self.degradation.title: {
                PSNR.name: sum(compared.psnr(image, clean) for image, clean in simply) / count,
                SSIM.name: sum(compared.ssim(image, clean) for image, clean in simply) / count,
            },
        }

    def _row(self, number: int, modules: Mapping[str, RestorationModule]) -> list[Sample]:
        pair: Pair = self.whole.pairs[number]
        shown = {self.degradation.title: self.degradation.unrestored(pair.given, number)}
        with torch.inference_mode():
            for title, module in modules.items():
                device = next(module.parameters()).device
                shown[title] = module.restored(pair.given.to(device), number).cpu()
        clean = _middle(pair.clean)
        # Nothing is shaved: what is measured is what is seen.
        compared = Comparison(shave=0, luma=self.degradation.comparison.luma)
        row = [
            Sample(
                title=title,
                image=_image(_middle(image) * PEAK),
                caption=PSNR.write(compared.psnr(_middle(image) * PEAK, clean)),
            )
            for title, image in shown.items()
        ]
        return [*row, Sample(title="clean", image=_image(clean))]


def _middle(image: Tensor) -> Tensor:
    height, width = image.shape[1:]
    top, left = max(0, height - SHOWN_SIDE) // 2, max(0, width - SHOWN_SIDE) // 2
    return image[:, top : top + SHOWN_SIDE, left : left + SHOWN_SIDE]


def _image(pixels: Tensor) -> Any:
    array = as_shown(pixels).to(torch.uint8).permute(1, 2, 0).numpy()
    return array[:, :, 0] if array.shape[2] == 1 else array
