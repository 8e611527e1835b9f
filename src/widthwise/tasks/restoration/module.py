"""Restoration as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from widthwise.data.augment import random_orientation
from widthwise.data.batches import derived_seed
from widthwise.errors import ConfigError
from widthwise.tasks.hardware import seed_step
from widthwise.tasks.restoration.degradation import Degradation
from widthwise.tasks.restoration.quality import PEAK
from widthwise.tasks.restoration.settings import Distance, RestorationSettings
from widthwise.tasks.restoration.whole import in_all_orientations, in_tiles, of_any_size
from widthwise.tasks.stage import StageConfig


def training_pair(
    given: Tensor, clean: Tensor, degradation: Degradation, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Make what a network is trained with out of crops.

    Args:
        given: uint8, shape ``[b, c, n, n]``. Not changed.
        clean: The same, as many times larger as the degradation says. Not changed.
        degradation: Makes inputs.
        seed: Determines completely how crops are turned and what noise is added.

    Returns:
        Inputs and clean crops, on the scale of 0 to 1.
    """
    inputs = degradation.inputs(random_orientation(given, seed=seed), seed=seed)
    return inputs, random_orientation(clean, seed=seed).float() / PEAK


def distance(outputs: Tensor, clean: Tensor, kind: Distance) -> Tensor:
    """Compute the loss: a mean over all pixels, on the scale of 0 to 1."""
    measure = functional.l1_loss if kind is Distance.l1 else functional.mse_loss
    return measure(outputs.float(), clean)


class RestorationModule(L.LightningModule):
    """Training of a network that gets degraded pixels and gives clean ones, both divided by 255.

    Published networks are trained on the scale of 0 to 255. With Adam the two differ only in how
    far away from a good start default weights are, which favours the smaller scale.

    What happens in an epoch depends only on the weights at its start, the seed and the number of
    the epoch, as in classification.

    Args:
        network: Maps images ``[b, c, h, w]`` to clean ones, of the scale that the degradation has.
        settings: What is made small, and how whole images are tested.
        degradation: What is to be undone, and how PSNR and SSIM are measured.
        stage: The optimizer.
        seed: Seed of the run.
        memory_format: What images and weights are brought to.
        call: Calls the network in training steps, as `HardwareConfig.caller` gives it.
        carried: State of an earlier optimizer of this network to start with, as its
            ``state_dict()`` gives it; its settings are not taken over.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        settings: RestorationSettings,
        degradation: Degradation,
        stage: StageConfig,
        seed: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        call: Callable[[Tensor], Tensor] | None = None,
        carried: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.settings = settings
        self.degradation = degradation
        self.stage = stage
        self.seed = seed
        self.memory_format = memory_format
        self._call = call
        self.carried = carried

    def forward(self, images: Tensor) -> Tensor:
        """Restore whole images, as the settings say."""
        settings, scale = self.settings, self.degradation.scale
        call = of_any_size(
            lambda image: self._called(image, self.network),
            multiple=settings.multiple,
            scale=scale,
        )
        if settings.tile is not None:
            call = in_tiles(call, tile=settings.tile, border=settings.tile_border, scale=scale)
        return in_all_orientations(call)(images) if settings.self_ensemble else call(images)

    def configure_optimizers(self) -> Optimizer:
        return self.stage.build_optimizer(self.network.named_parameters(), self.carried)

    def training_step(self, batch: tuple[Tensor, Tensor, Tensor], batch_idx: int) -> Tensor:
        given, clean, _ = batch
        # Every step, because loaders draw from the same generator, and not as often when resumed.
        seed = derived_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_step(seed, self.device)
        images, target = training_pair(given, clean, self.degradation, seed=seed)
        outputs = self._called(images, self._call or self.network)
        return distance(outputs, target, self.settings.loss)

    def validation_step(
        self, batch: tuple[list[Tensor], list[Tensor], Tensor], batch_idx: int
    ) -> None:
        for given, clean, number in zip(batch[0], batch[1], batch[2].tolist(), strict=True):
            output, compared = self.restored(given, number), self.degradation.comparison
            if output.shape != clean.shape:
                raise ConfigError(
                    f"The network makes {list(output.shape)} of a test image of "
                    f"{list(given.shape)}, and the clean one is {list(clean.shape)}.\n"
                    "Hint: set `task.scale` and `task.colour` to those of the network."
                )
            values: dict[str, Tensor | float] = {
                "test_loss": distance(output, clean.float() / PEAK, self.settings.loss),
                "test_psnr": compared.psnr(output * PEAK, clean),
                "test_ssim": compared.ssim(output * PEAK, clean),
            }
            self.log_dict(values, on_epoch=True, batch_size=1, sync_dist=True)

    def restored(self, given: Tensor, number: int) -> Tensor:
        """Degrade a test image and let the network restore it.

        Args:
            given: uint8, shape ``[c, h, w]``.
            number: Of the image among the test images.

        Returns:
            The output of the network, on the scale of 0 to 1.
        """
        return self(self.degradation.test_input(given, number)[None])[0]

    def _called(self, images: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        return call(images.contiguous(memory_format=self.memory_format)).float()
