"""Image classification as a LightningModule."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer
from torchmetrics.classification import MulticlassAccuracy
from torchvision.transforms import v2

from widthwise.data.arrays import ImageClasses
from widthwise.data.augment import random_flip, random_shift
from widthwise.data.batches import Batch, derived_seed
from widthwise.measures import Measure
from widthwise.tasks.classification.distillation import Distillation
from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.hardware import seed_step
from widthwise.tasks.stage import StageConfig

ACCURACY = Measure(
    name="accuracy", title="test accuracy", unit="%", scale=100, digits=1, is_share=True
)
"""The share of test images whose highest score is that of the right class."""


class Normalise(nn.Module):
    """Brings raw values of every channel to mean 0 and standard deviation 1.

    Args:
        mean: Mean raw value of every channel.
        std: Standard deviation of every channel.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("std", std)):
            tensor = torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)
            self.register_buffer(name, tensor, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


def augmented(images: Tensor, settings: ClassificationSettings, *, seed: int) -> Tensor:
    """Mirror and shift training images as the settings say.

    Args:
        images: Raw values ``[b, c, h, w]``. Not changed.
        settings: Say what is done.
        seed: Determines completely what is done to which image.

    Returns:
        Images of the same shape and dtype.
    """
    if settings.flip:
        images = random_flip(images, seed=seed)
    if settings.shift:
        images = random_shift(images, pixels=settings.shift, seed=seed)
    return images


class ClassificationModule(L.LightningModule):
    """Cross-entropy training of a network on raw uint8 images.

    What happens in an epoch depends only on the weights at its start, the seed and the number of
    the epoch: the augmentation and PyTorch's global generator (dropout) are derived from these.
    Resuming at an epoch therefore needs no random state.

    Args:
        network: Maps normalised images ``[b, c, h, w]`` to class scores ``[b, classes]``.
        data: Says how images are normalised and how many classes there are.
        settings: What is done to images and labels.
        stage: The optimizer, and the weight of the teacher.
        seed: Seed of the run.
        memory_format: What images and weights are brought to.
        call: Calls the network in training steps, as `HardwareConfig.caller` gives it.
        carried: State of an earlier optimizer of this network to start with, as its
            ``state_dict()`` gives it; its settings are not taken over.
        teacher: A network to distil from; needed where ``stage.distil`` is above 0, and without
            effect otherwise.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        data: ImageClasses,
        settings: ClassificationSettings,
        stage: StageConfig,
        seed: int,
        memory_format: torch.memory_format = torch.contiguous_format,
        call: Callable[[Tensor], Tensor] | None = None,
        carried: Mapping[str, Any] | None = None,
        teacher: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.network = network.to(memory_format=memory_format)
        self.settings = settings
        self.stage = stage
        self.seed = seed
        self.memory_format = memory_format
        self._call = call
        self.carried = carried
        self.mix = _mix(settings, classes=len(data.classes))
        self.accuracy = MulticlassAccuracy(num_classes=len(data.classes), average="micro")
        self.normalise = Normalise(data.mean, data.std)
        self.distillation = (
            Distillation(teacher, weight=stage.distil, temperature=stage.temperature)
            if teacher is not None and stage.distil
            else None
        )

    def forward(self, images: Tensor) -> Tensor:
        return self._scores(self.normalise(images))

    def configure_optimizers(self) -> Optimizer:
        return self.stage.build_optimizer(self.network.named_parameters(), self.carried)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        # Every step, because loaders draw from the same generator, and not as often when resumed.
        seed = derived_seed(self.seed, self.current_epoch, batch_idx, self.global_rank)
        seed_step(seed, self.device)
        images, targets = self.normalise(augmented(images, self.settings, seed=seed)), labels
        if self.mix is not None:
            images, targets = self.mix(images, labels)
        scores = self._scores(images, call=self._call)
        loss = functional.cross_entropy(
            scores, targets, label_smoothing=self.settings.label_smoothing
        )
        if self.distillation is not None:
            loss = self.distillation.mixed(loss, scores, images)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        scores = self(images)
        self.accuracy(scores, labels)
        loss = functional.cross_entropy(scores, labels)
        self.log("test_loss", loss, on_epoch=True, batch_size=len(labels), sync_dist=True)
        self.log("test_accuracy", self.accuracy, on_epoch=True, batch_size=len(labels))

    def _scores(self, images: Tensor, call: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        # In float32, whatever the network computed in: a loss of bfloat16 has three digits.
        return (call or self.network)(images.contiguous(memory_format=self.memory_format)).float()


def _mix(settings: ClassificationSettings, *, classes: int) -> nn.Module | None:
    """What mixes the images of a batch and their labels with each other."""
    mixes: list[nn.Module] = []
    if settings.mixup:
        mixes.append(v2.MixUp(alpha=settings.mixup, num_classes=classes))
    if settings.cutmix:
        mixes.append(v2.CutMix(alpha=settings.cutmix, num_classes=classes))
    return v2.RandomChoice(mixes) if mixes else None
