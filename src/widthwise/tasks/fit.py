"""Run one stage of training with Lightning: quietly, resumably, one line of metrics per epoch."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import lightning as L
from torch.utils.data import DataLoader

from widthwise.data.batches import Batch
from widthwise.runs import RunFolder
from widthwise.tasks.checkpoints import SaveEveryEpoch, StageCheckpoints
from widthwise.tasks.progress import Progress

_MEASURED = ("lr", "train_loss", "test_loss", "test_accuracy")


class RecordEpochs(L.Callback):
    """Writes the metrics of every epoch into the run folder and tells the progress.

    Args:
        run: Where to.
        stage: Name of the stage.
        progress: Who to tell.
        macs_fraction: Tells the cost that a search has reached, as a fraction of the full
            network's; None outside of searches.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        stage: str,
        progress: Progress,
        macs_fraction: Callable[[], float] | None,
    ) -> None:
        self.run = run
        self.stage = stage
        self.progress = progress
        self.macs_fraction = macs_fraction
        self._start = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        measured = trainer.callback_metrics
        row = {
            "stage": self.stage,
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            **{name: _short(measured[name].item()) for name in _MEASURED},
            "macs_fraction": None if self.macs_fraction is None else _short(self.macs_fraction()),
            "seconds": round(time.perf_counter() - self._start, 3),
        }
        self.run.add_metrics(row)
        self.progress.epoch_ends(row)


def fit_stage(
    module: L.LightningModule,
    *,
    run: RunFolder,
    stage: str,
    title: str,
    epochs: int,
    train: DataLoader[Batch],
    test: DataLoader[Batch],
    progress: Progress,
    callbacks: Sequence[L.Callback] = (),
    macs_fraction: Callable[[], float] | None = None,
) -> None:
    """Train a module for some epochs, going on from the last checkpoint if there is one.

    Args:
        module: What to train. Changed in place.
        run: The run folder: metrics and checkpoints go there.
        stage: Name of the stage.
        title: What to call it on the screen.
        epochs: Passes over the training batches, those before the checkpoint included.
        train: Training batches.
        test: Batches on which accuracy is measured after every epoch.
        progress: Told about every epoch.
        callbacks: Called before metrics are recorded and the checkpoint is saved.
        macs_fraction: See `RecordEpochs`.
    """
    checkpoints = StageCheckpoints(run.path / "checkpoints" / stage, stage=stage)
    latest, note = checkpoints.latest()
    if note:
        progress.note(note)
    done = 0 if latest is None else checkpoints.load_checkpoint(latest)["epoch"] + 1
    progress.stage_begins(title, epochs=epochs, done=done)
    recorder = RecordEpochs(run, stage=stage, progress=progress, macs_fraction=macs_fraction)
    with quiet_lightning():
        trainer = L.Trainer(
            accelerator="auto",
            devices=1,
            max_epochs=epochs,
            callbacks=[*callbacks, recorder, SaveEveryEpoch(checkpoints)],
            plugins=[checkpoints],
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # Some layers have no deterministic gradient on a GPU; they still have to train.
            deterministic="warn",
        )
        trainer.fit(module, train, test, ckpt_path=latest)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Keep Lightning from announcing devices, tips and what it thinks of loaders without workers.

    Yields:
        Nothing. Errors still get through.
    """
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _short(value: float) -> float:
    """Six digits: more would be rounding noise of float32, in a file that people read."""
    return float(f"{value:.6g}")
