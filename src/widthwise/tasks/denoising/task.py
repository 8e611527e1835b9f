"""Denoising as a task: what jobs talk to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.data.batches import derived_seed, eval_batches, train_batches
from widthwise.data.crops import Crops, Whole
from widthwise.data.photographs import Photographs, bundled_photographs, photographs_in
from widthwise.errors import ConfigError
from widthwise.measures import Measure
from widthwise.tasks.base import Sample
from widthwise.tasks.checking import require_outputs
from widthwise.tasks.denoising.module import SHAVE, DenoisingModule, distance, training_pair
from widthwise.tasks.denoising.noise import noisy_test_image
from widthwise.tasks.denoising.settings import DenoisingSettings, Place
from widthwise.tasks.fit import measured
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.image_quality import PEAK, PSNR, SSIM, as_shown, psnr, ssim
from widthwise.tasks.stage import StageConfig

EXAMPLES = 4
"""Crops on which networks are traced and cuts are proven."""
SHOWN = 3
"""Photographs that samples are taken of."""
SHOWN_SIDE = 128
"""Height and width of samples in pixels."""


class Denoising:
    """Denoising of photographs, as `widthwise.tasks.base.Task`.

    Args:
        settings: Name the photographs, the noise and the loss.
    """

    name = "denoising"
    measures: tuple[Measure, ...] = (PSNR, SSIM)

    def __init__(self, settings: DenoisingSettings) -> None:
        self.settings = settings

    @cached_property
    def photographs(self) -> Photographs:
        """The photographs, loaded when they are first asked for.

        Raises:
            DataError: If they are not there, damaged, or not of the channels that are asked for.
        """
        colour = self.settings.colour
        if self.settings.dataset is Place.photographs:
            return bundled_photographs(colour=colour)
        return photographs_in(Path(str(self.settings.folder)), colour=colour)

    @cached_property
    def crops(self) -> Crops:
        """What is trained on.

        Raises:
            DataError: If a photograph is smaller than a crop.
        """
        return Crops(
            self.photographs.train,
            side=self.settings.patch,
            count=self.settings.samples_per_epoch,
        )

    @cached_property
    def whole(self) -> Whole:
        """What is tested on."""
        return Whole(self.photographs.test, largest_side=self.settings.test_side)

    @property
    def test_items(self) -> int:
        """Number of test photographs."""
        return len(self.whole)

    def example(self) -> Tensor:
        """Return a few noisy training crops, shape ``[n, c, patch, patch]``, of 0 to 1."""
        images, _ = training_pair(self.crops.first(EXAMPLES), self.settings, seed=0)
        return images

    def check(self, network: nn.Module) -> None:
        """Find out whether a network gives images of the size and channels that it gets.

        Args:
            network: Not changed, and left in the mode it is in.

        Raises:
            ConfigError: If it does not.
            DataError: If photographs are missing, damaged or too small.
        """
        images = self.example()
        channels = images.shape[1]
        kind = "RGB" if channels == 3 else "grey"
        problem = f"The network does not fit {kind} images of {channels} channels"
        hint = (
            "Hint: set the network's constructor arguments in `model.options`, such as "
            f"`--model.options.in_channels {channels}`, or `--task.colour`."
        )
        require_outputs(network, images, images.shape[1:], problem=problem, hint=hint)

    def batch(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return one training batch.

        Args:
            seed: Decides completely what is in it.

        Returns:
            Noisy and clean crops ``[b, c, patch, patch]``, on the scale of 0 to 1.
        """
        seed = derived_seed(seed)
        pixels, _ = self.crops.batch(range(self.settings.batch_size), seed=seed)
        return training_pair(pixels, self.settings, seed=seed)

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
    ) -> DenoisingModule:
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
                f"`distil` is {stage.distil:g}, but denoising has no use for a teacher.\n"
                "Why: a teacher's probabilities of classes say more than a label; its image says "
                "less than the clean one.\nHint: set `distil: 0`."
            )
        return DenoisingModule(
            network,
            settings=self.settings,
            stage=stage,
            seed=seed,
            memory_format=hardware.memory_format,
            call=hardware.caller(network),
            carried=carried,
        )

    def train(self, seed: int) -> Iterable[Any]:
        """Return the loader of clean training crops."""
        return train_batches(self.crops, batch_size=self.settings.batch_size, seed=seed)

    def test(self) -> Iterable[Any]:
        """Return the loader of clean test photographs and their numbers."""
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

    def samples(self, networks: Mapping[str, nn.Module]) -> Sequence[Sequence[Sample]]:
        """Show the middle of test photographs: noisy, from every network, and clean.

        Args:
            networks: Title -> network, which is used where it is and left in the mode it is in.

        Returns:
            A row per photograph, with the PSNR of what is shown.
        """
        modes = {title: network.training for title, network in networks.items()}
        stage = StageConfig(epochs=1)
        modules = {
            title: DenoisingModule(network.eval(), settings=self.settings, stage=stage, seed=0)
            for title, network in networks.items()
        }
        rows = [self._row(number, modules) for number in range(min(SHOWN, len(self.whole)))]
        for title, network in networks.items():
            network.train(modes[title])
        return rows

    def facts(self) -> Mapping[str, Any]:
        """Say what the network takes and gives, and how good its input was already."""
        images = [
            (pixels, noisy_test_image(pixels, n, sigma=self.settings.sigma) * PEAK)
            for n, pixels in enumerate(self.whole.pixels)
        ]
        count = len(images)
        return {
            "data": self.settings.folder or self.settings.dataset.value,
            "input": "noisy pixels / 255; the output is clean pixels / 255",
            "sigma": self.settings.sigma,
            "colour": self.settings.colour,
            "noisy": {
                PSNR.name: sum(psnr(n, clean, shave=SHAVE) for clean, n in images) / count,
                SSIM.name: sum(ssim(n, clean, shave=SHAVE) for clean, n in images) / count,
            },
        }

    def _row(self, number: int, modules: Mapping[str, DenoisingModule]) -> list[Sample]:
        pixels = self.whole.pixels[number]
        shown = {"noisy": noisy_test_image(pixels, number, sigma=self.settings.sigma)}
        with torch.inference_mode():
            for title, module in modules.items():
                device = next(module.parameters()).device
                shown[title] = module.restored(pixels.to(device), number).cpu()
        clean = _middle(pixels)
        row = [
            Sample(
                title=title,
                image=_image(_middle(image) * PEAK),
                caption=PSNR.write(psnr(_middle(image) * PEAK, clean, shave=0)),
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
