"""Image classification as a LightningModule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchvision.transforms import v2

from widthwise.data.arrays import ImageClasses
from widthwise.data.augment import random_flip, random_shift
from widthwise.data.batches import Batch, derived_seed
from widthwise.errors import RunError
from widthwise.metrics import top1_accuracy
from widthwise.tasks.stage import StageConfig


class Classification(L.LightningModule):
    """Cross-entropy training of a network on raw uint8 images.

    What happens in an epoch depends only on the weights at its start, the seed and the number of
    the epoch: the learning rate, the augmentation and PyTorch's global generator (dropout) are all
    derived from these. Resuming at an epoch therefore needs no random state.

    Args:
        network: Maps normalised images ``[b, c, h, w]`` to class scores ``[b, classes]``.
        data: Says how images are normalised and how many classes there are.
        stage: Optimizer, learning rate and loss.
        setting: Key of the stage in the recipe, for messages.
        shift: Training images are shifted by up to this many pixels.
        flip: Training images are mirrored at random.
        seed: Seed of the run.
        memory_format: What images and weights are brought to.
        carried: State of an earlier optimizer of this network to start with, as its
            ``state_dict()`` gives it; its settings are not taken over.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        *,
        data: ImageClasses,
        stage: StageConfig,
        setting: str,
        shift: int,
        flip: bool,
        seed: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        carried: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.stage = stage
        self.setting = setting
        self.shift = shift
        self.flip = flip
        self.seed = seed
        self.memory_format = memory_format
        self.carried = carried
        self.mix = _mix(stage, classes=len(data.classes))
        self.accuracy = top1_accuracy(len(data.classes))
        for name, values in (("mean", data.mean), ("std", data.std)):
            tensor = torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return self._scores((images - self.mean) / self.std)

    def configure_optimizers(self) -> Optimizer:
        optimizer = self.stage.build_optimizer(self.network.parameters())
        if self.carried is not None:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": self.carried["state"]})
        return optimizer

    def on_train_epoch_start(self) -> None:
        lr = self.stage.lr_at(self.current_epoch)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = lr
        self.log("lr", lr)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        # Every step, because loaders draw from the same generator, and not as often when resumed.
        seed = derived_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        torch.manual_seed(seed)
        if self.flip:
            images = random_flip(images, seed=seed)
        if self.shift:
            images = random_shift(images, pixels=self.shift, seed=seed)
        images, targets = (images - self.mean) / self.std, labels
        if self.mix is not None:
            images, targets = self.mix(images, labels)
        loss = functional.cross_entropy(
            self._scores(images), targets, label_smoothing=self.stage.label_smoothing
        )
        if not torch.isfinite(loss):
            raise RunError(self._diverged(loss.item(), batch_idx))
        self.log(
            "train_loss",
            loss,
            on_step=False,
            on_epoch=True,
            batch_size=len(labels),
            sync_dist=True,
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        scores = self(images)
        self.accuracy(scores, labels)
        loss = functional.cross_entropy(scores, labels)
        self.log("test_loss", loss, on_epoch=True, batch_size=len(labels), sync_dist=True)
        self.log("test_accuracy", self.accuracy, on_epoch=True, batch_size=len(labels))

    def _scores(self, images: Tensor) -> Tensor:
        # In float32, whatever the network computed in: a loss of bfloat16 has three digits.
        return self.network(images.contiguous(memory_format=self.memory_format)).float()

    def _diverged(self, loss: float, batch_idx: int) -> str:
        lr = self.stage.lr_at(self.current_epoch)
        return (
            f"Training diverged: the loss is {loss} in "
            f"epoch {self.current_epoch + 1}, step {batch_idx + 1} of the epoch, "
            f"at learning rate {lr:g}.\n"
            "Why: no later step makes such weights finite again; what is on disk is from before.\n"
            f"Hint: start a new run with a lower learning rate, such as "
            f"`--{self.setting}.lr {self.stage.lr / 10:g}`."
        )


def _mix(stage: StageConfig, *, classes: int) -> nn.Module | None:
    """What mixes the images of a batch and their labels with each other."""
    mixes: list[nn.Module] = []
    if stage.mixup:
        mixes.append(v2.MixUp(alpha=stage.mixup, num_classes=classes))
    if stage.cutmix:
        mixes.append(v2.CutMix(alpha=stage.cutmix, num_classes=classes))
    return v2.RandomChoice(mixes) if mixes else None
