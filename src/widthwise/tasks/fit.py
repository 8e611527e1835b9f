"""Run one stage of training with Lightning: quietly, resumably, one line of metrics per epoch."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.loggers import TensorBoardLogger
from torch.optim import Optimizer

from widthwise.errors import ConfigError
from widthwise.measures import Measure
from widthwise.runs import RunFolder
from widthwise.tasks.callbacks import LogLoss, ScheduledRate, StopAtDivergence
from widthwise.tasks.checkpoints import SaveEveryEpoch, checkpoints_of
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.progress import Progress
from widthwise.tasks.stage import StageConfig

_LOGGED = ("lr", "train_loss", "test_loss")


class RecordEpochs(L.Callback):
    """Writes the metrics of every epoch into the run folder and tells the progress.

    Args:
        run: Where to.
        stage: Name of the stage.
        measures: What the module logs as ``test_<name>``.
        progress: Who to tell.
        cost_fractions: Tells MACs and parameters that a search has reached, as fractions of the
            full network's; None outside of searches.
    """

    def __init__(
        self,
        run: RunFolder,
        *,
        stage: str,
        measures: Sequence[Measure],
        progress: Progress,
        cost_fractions: Callable[[], tuple[float, float]] | None,
    ) -> None:
        self.run = run
        self.stage = stage
        self.columns = (*_LOGGED, *(f"test_{measure.name}" for measure in measures))
        self.progress = progress
        self.cost_fractions = cost_fractions
        self._start = 0.0

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        measured = trainer.callback_metrics
        macs, params = (None, None) if self.cost_fractions is None else self.cost_fractions()
        row = {
            "stage": self.stage,
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            **{name: _short(measured[name].item()) for name in self.columns},
            "macs_fraction": None if macs is None else _short(macs),
            "params_fraction": None if params is None else _short(params),
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
    config: StageConfig,
    setting: str,
    measures: Sequence[Measure],
    train: Iterable[Any],
    test: Iterable[Any],
    progress: Progress,
    hardware: HardwareConfig,
    tensorboard: bool = False,
    callbacks: Sequence[L.Callback] = (),
    cost_fractions: Callable[[], tuple[float, float]] | None = None,
) -> Optimizer:
    """Train a module for some epochs, going on from the last checkpoint if there is one.

    Args:
        module: What to train. Changed in place. It logs ``test_loss`` and ``test_<name>`` of every
            measure.
        run: The run folder: metrics and checkpoints go there.
        stage: Name of the stage.
        title: What to call it on the screen.
        config: Epochs (those before the checkpoint included), learning rate, clipping, averaging.
        setting: Key of `config` in the recipe, for messages.
        measures: What is written down after every epoch.
        train: Training batches.
        test: Batches on which is measured after every epoch.
        progress: Told about every epoch.
        hardware: What to train on.
        tensorboard: Whether to write event files for TensorBoard too.
        callbacks: Called before metrics are recorded and the checkpoint is saved.
        cost_fractions: See `RecordEpochs`.

    Returns:
        The optimizer, with the state it ended with.

    Raises:
        ConfigError: If a package for TensorBoard is missing.
        RunError: If no checkpoint can be read, or a loss is not finite.
    """
    logger = _tensorboard(run, stage) if tensorboard else False
    checkpoints = checkpoints_of(run, stage)
    latest, note = checkpoints.latest()
    if note:
        progress.note(note)
    done = 0 if latest is None else checkpoints.load_checkpoint(latest)["epoch"] + 1
    progress.stage_begins(title, epochs=config.epochs, done=done)
    recorder = RecordEpochs(
        run, stage=stage, measures=measures, progress=progress, cost_fractions=cost_fractions
    )
    always = [ScheduledRate(config), LogLoss(), StopAtDivergence(config, setting=setting)]
    # After the callbacks of a search, which change the network that is averaged.
    averages = [] if config.ema is None else [EMAWeightAveraging(decay=config.ema)]
    with quiet_lightning():
        trainer = L.Trainer(
            **hardware.trainer_options(),
            # Loaders share every batch between the processes themselves.
            use_distributed_sampler=False,
            max_epochs=config.epochs,
            gradient_clip_val=config.clip_norm,
            callbacks=[*always, *callbacks, *averages, recorder, SaveEveryEpoch(checkpoints)],
            plugins=[checkpoints],
            logger=logger,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            # Some layers have no deterministic gradient on a GPU; they still have to train.
            deterministic="warn",
        )
        trainer.fit(module, train, test, ckpt_path=latest)
        for average in averages:
            # Leaves the average in the module. Lightning does so after training, but not when it
            # resumes behind the last epoch; twice does no harm.
            average.on_train_end(trainer, module)
    return trainer.optimizers[0]


def measured(
    module: L.LightningModule,
    measures: Sequence[Measure],
    *,
    test: Iterable[Any],
    hardware: HardwareConfig,
) -> dict[str, float]:
    """Measure a network as after an epoch of training, on one device.

    Args:
        module: Wraps the network; logs ``test_<name>`` of every measure.
        measures: What to take.
        test: Test batches.
        hardware: Device and number formats.

    Returns:
        A value per measure, by name.
    """
    alone = replace(hardware, devices=1, num_nodes=1, strategy="auto")
    with quiet_lightning():
        trainer = L.Trainer(
            **alone.trainer_options(),
            use_distributed_sampler=False,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        trainer.validate(module, test, verbose=False)
    values = trainer.callback_metrics
    return {measure.name: values[f"test_{measure.name}"].item() for measure in measures}


def _tensorboard(run: RunFolder, stage: str) -> TensorBoardLogger:
    try:
        return TensorBoardLogger(run.path, name="tensorboard", version=stage)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"`tensorboard: true` needs a package that is not installed: {error}\n"
            "Hint: `pip install 'widthwise[tensorboard]'`; metrics.csv is written in any case."
        ) from error


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
