"""Denoising as a LightningModule."""

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
from widthwise.tasks.denoising.noise import noisy, noisy_test_image, padded
from widthwise.tasks.denoising.settings import DenoisingSettings, Distance
from widthwise.tasks.hardware import seed_step
from widthwise.tasks.image_quality import PEAK, psnr, ssim
from widthwise.tasks.stage import StageConfig

SHAVE = 1
"""Pixels at the border that are not measured."""


def training_pair(
    pixels: Tensor, settings: DenoisingSettings, *, seed: int
) -> tuple[Tensor, Tensor]:
    """Make what a network is trained with out of clean crops.

    Args:
        pixels: uint8, shape ``[b, c, n, n]``. Not changed.
        settings: Say how strong the noise is.
        seed: Determines completely how crops are turned and what noise is added.

    Returns:
        Noisy and clean crops of the same shape, on the scale of 0 to 1.
    """
    clean = random_orientation(pixels, seed=seed).float() / PEAK
    return noisy(clean, sigma=settings.sigma, seed=seed), clean


def distance(outputs: Tensor, clean: Tensor, kind: Distance) -> Tensor:
    """Compute the loss: a mean over all pixels, on the scale of 0 to 1."""
    measure = functional.l1_loss if kind is Distance.l1 else functional.mse_loss
    return measure(outputs.float(), clean)


class DenoisingModule(L.LightningModule):
    """Training of a network that gets noisy pixels and gives clean ones, both divided by 255.

    Published networks are trained on the scale of 0 to 255. With Adam the two differ only in how
    far away from a good start default weights are, which favours the smaller scale.

    What happens in an epoch depends only on the weights at its start, the seed and the number of
    the epoch, as in classification. PSNR and SSIM follow `widthwise.tasks.image_quality`, with one
    pixel left out at the border.

    Args:
        network: Maps images ``[b, c, h, w]`` to images of the same shape.
        settings: The noise, and what is made small.
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
        settings: DenoisingSettings,
        stage: StageConfig,
        seed: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        call: Callable[[Tensor], Tensor] | None = None,
        carried: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.settings = settings
        self.stage = stage
        self.seed = seed
        self.memory_format = memory_format
        self._call = call
        self.carried = carried

    def forward(self, images: Tensor) -> Tensor:
        return self._restored(images, self.network)

    def configure_optimizers(self) -> Optimizer:
        return self.stage.build_optimizer(self.network.parameters(), self.carried)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        pixels, _ = batch
        # Every step, because loaders draw from the same generator, and not as often when resumed.
        seed = derived_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_step(seed, self.device)
        images, clean = training_pair(pixels, self.settings, seed=seed)
        loss = distance(
            self._restored(images, self._call or self.network), clean, self.settings.loss
        )
        return loss

    def validation_step(self, batch: tuple[list[Tensor], Tensor], batch_idx: int) -> None:
        for pixels, number in zip(batch[0], batch[1].tolist(), strict=True):
            output = self.restored(pixels, number)
            values: dict[str, Tensor | float] = {
                "test_loss": distance(output, pixels.float() / PEAK, self.settings.loss),
                "test_psnr": psnr(output * PEAK, pixels, shave=SHAVE),
                "test_ssim": ssim(output * PEAK, pixels, shave=SHAVE),
            }
            self.log_dict(values, on_epoch=True, batch_size=1, sync_dist=True)

    def _restored(self, images: Tensor, call: Callable[[Tensor], Tensor]) -> Tensor:
        return call(images.contiguous(memory_format=self.memory_format)).float()

    def restored(self, pixels: Tensor, number: int) -> Tensor:
        """Add the noise of a test image to it and let the network remove it.

        Args:
            pixels: uint8, shape ``[c, h, w]``.
            number: Of the image among the test images.

        Returns:
            The output of the network, on the scale of 0 to 1 and of the same shape.
        """
        image = noisy_test_image(pixels, number, sigma=self.settings.sigma)
        output = self(padded(image[None], self.settings.multiple))[0]
        return output[:, : pixels.shape[1], : pixels.shape[2]]
