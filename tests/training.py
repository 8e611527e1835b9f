"""What tests of training share: a run that keeps its metrics in a list, and a silent progress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
import torch

from widthwise.measures import Measure
from widthwise.tasks.fit import fit_stage
from widthwise.tasks.hardware import HardwareConfig, Precision
from widthwise.tasks.stage import StageConfig

FLOAT32 = HardwareConfig(accelerator="cpu", precision=Precision.float32)


class Silent:
    """A progress that nobody sees."""

    def stage_begins(self, title: str, *, epochs: int, done: int) -> None: ...
    def epoch_ends(self, metrics: object) -> None: ...
    def stage_ends(self, summary: str) -> None: ...
    def note(self, text: str) -> None: ...


class Kept:
    """A run folder whose metrics are kept in memory.

    Args:
        path: Where checkpoints go.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []

    def add_metrics(self, row: Mapping[str, Any]) -> None:
        """Keep the line of one epoch, without its time."""
        self.rows.append({key: value for key, value in row.items() if key != "seconds"})


class StopAt(L.Callback):
    """Raises at the start of an epoch, and draws random numbers until then."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.rand(3)
        if trainer.current_epoch == self.epoch:
            raise InterruptedError


def fit(
    module: L.LightningModule,
    run: Kept,
    *callbacks: L.Callback,
    config: StageConfig,
    measures: Sequence[Measure],
    train: Any,
    test: Any,
    **more: Any,
) -> list[dict[str, Any]]:
    """Train a stage named `full` and give the metrics of the run."""
    settings: dict[str, Any] = {"hardware": FLOAT32, **more}
    fit_stage(
        module,
        run=run,
        stage="full",
        title="full network",
        config=config,
        setting="converge",
        measures=measures,
        train=train,
        test=test,
        progress=Silent(),
        callbacks=callbacks,
        **settings,
    )
    return run.rows
