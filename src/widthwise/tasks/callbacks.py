"""What happens in every stage of training, whatever the task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning as L
import torch
from torch import Tensor

from widthwise.errors import RunError
from widthwise.tasks.stage import LR_FACTOR, StageConfig

CHECK_EVERY = 50
"""Steps between two looks at the losses on an accelerator, which each make it wait."""

_NONE = torch.iinfo(torch.int64).max


class ScheduledRate(L.Callback):
    """Gives every step of an epoch the learning rate of its stage, and logs it as ``lr``.

    Groups of parameters with a factor get so many times that rate.

    Args:
        stage: Says what the rate is.
    """

    def __init__(self, stage: StageConfig) -> None:
        self.stage = stage

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        lr = self.stage.lr_at(trainer.current_epoch)
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = lr * group.get(LR_FACTOR, 1.0)
        pl_module.log("lr", lr)


class LogLoss(L.Callback):
    """Logs the mean loss of an epoch as ``train_loss``.

    Added up here: Lightning's own bookkeeping of every step takes long beside a small step.
    """

    def __init__(self) -> None:
        self._sum = torch.tensor(0.0)
        self._steps = 0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._sum = torch.tensor(0.0, device=pl_module.device)
        self._steps = 0

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Tensor | Mapping[str, Any] | None,
        batch: object,
        batch_idx: int,
    ) -> None:
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        # A step without a loss is skipped.
        if loss is None:
            return
        self._sum += loss.detach()
        self._steps += 1

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        pl_module.log("train_loss", self._sum / max(self._steps, 1), sync_dist=True)


class StopAtDivergence(L.Callback):
    """Ends training when a loss is not finite, in all processes of a run together.

    On the CPU every loss is looked at before a step is made with it. An accelerator would have to
    wait for that: there the losses are looked at together, every so many steps and before the
    epoch is recorded.

    Args:
        stage: Says what the learning rate was, for the message.
        setting: Key of the stage in the recipe, for the message.
        check_every: Steps between two looks on an accelerator.
    """

    def __init__(self, stage: StageConfig, *, setting: str, check_every: int = CHECK_EVERY) -> None:
        self.stage = stage
        self.setting = setting
        self.check_every = check_every
        self._step = 0
        self._first = torch.tensor(_NONE)

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._step = 0
        self._first = torch.tensor(_NONE, device=pl_module.device)

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        self._step += 1
        seen = torch.where(torch.isfinite(loss.detach()), _NONE, self._step)
        self._first = torch.minimum(self._first, seen)
        if self._first.device.type == "cpu" or self._step % self.check_every == 0:
            self._check(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._check(trainer)

    def _check(self, trainer: L.Trainer) -> None:
        # Alone, a process that stops would leave the others waiting for its gradients.
        first = int(trainer.strategy.reduce(self._first.clone(), reduce_op="min"))
        if first == _NONE:
            return
        lr = self.stage.lr_at(trainer.current_epoch)
        raise RunError(
            f"Training diverged: the loss is not a finite number in epoch "
            f"{trainer.current_epoch + 1}, step {first} of the epoch, at learning rate {lr:g}.\n"
            "Why: no later step makes such weights finite again; what is on disk is from before.\n"
            f"Hint: start a new run with a lower learning rate, such as "
            f"`--{self.setting}.lr {self.stage.lr / 10:g}`."
        )
