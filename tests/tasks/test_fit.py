"""What every stage of training does, whatever the task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from training import Kept, fit
from widthwise.errors import ConfigError, RunError
from widthwise.measures import Measure
from widthwise.tasks.callbacks import StopAtDivergence
from widthwise.tasks.stage import Schedule, StageConfig

STEPS = 4
DISTANCE = Measure(name="distance", title="distance", unit="m", higher_is_better=False)


class Line(L.LightningModule):
    """Fits a line; the loss of one step can be made infinite."""

    def __init__(self, *, wrong_at: int | None = None) -> None:
        super().__init__()
        self.network = nn.Linear(1, 1)
        self.wrong_at = wrong_at
        self.steps: list[int] = []
        self.losses: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.network.parameters(), lr=1.0)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        self.steps.append(batch_idx)
        loss = self.network(batch).square().mean()
        if batch_idx == self.wrong_at:
            loss = loss / 0
        self.losses.append(loss.item())
        return loss

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.log_dict({"test_loss": 1.0, "test_distance": 2.5}, batch_size=2)


def train(module: Line, folder: Path, *callbacks: L.Callback, **more: Any) -> list[dict[str, Any]]:
    data = DataLoader(torch.ones(2 * STEPS, 1), batch_size=2)
    more = {"config": StageConfig(epochs=2, lr=0.1, schedule=Schedule.constant), **more}
    run = Kept(folder)
    return fit(module, run, *callbacks, measures=[DISTANCE], train=data, test=data, **more)


def test_the_measures_of_a_task_are_recorded(tmp_path: Path) -> None:
    """Every epoch has a value in the column of every measure, beside the bookkeeping."""
    rows = train(Line(), tmp_path)
    assert [row["test_distance"] for row in rows] == [2.5, 2.5]
    assert set(rows[0]) == {
        *("stage", "epoch", "step", "lr", "train_loss", "test_loss", "test_distance"),
        *("macs_fraction", "params_fraction"),
    }


def test_the_training_loss_of_an_epoch_is_the_mean_over_its_steps(tmp_path: Path) -> None:
    """Each epoch's alone; no task has to log it."""
    module = Line()
    rows = train(module, tmp_path)
    means = np.array(module.losses).reshape(2, STEPS).mean(1)
    assert [row["train_loss"] for row in rows] == pytest.approx(means, rel=1e-3)
    assert means[0] != pytest.approx(means[1], rel=1e-2)


def test_a_loss_that_is_not_finite_ends_training_before_its_step(tmp_path: Path) -> None:
    """On the CPU no step is made with it; the error names step, rate and the setting to lower."""
    module, run = Line(wrong_at=2), Kept(tmp_path)
    data = DataLoader(torch.ones(2 * STEPS, 1), batch_size=2)
    stage = StageConfig(epochs=2, lr=0.1, schedule=Schedule.constant)
    with pytest.raises(RunError, match=r"in epoch 1, step 3 (?s:.*)--converge.lr 0.01"):
        fit(module, run, config=stage, measures=[DISTANCE], train=data, test=data)
    assert module.steps == [0, 1, 2]
    assert torch.isfinite(module.network.weight).all()
    assert run.rows == []


class Elsewhere:
    """Stands for the trainer of one of several processes, another of which has a wrong loss."""

    current_epoch = 0

    def __init__(self, first_elsewhere: int) -> None:
        self.strategy = self
        self.first_elsewhere = first_elsewhere
        self.calls = 0

    def reduce(self, value: Tensor, reduce_op: str) -> Tensor:
        assert reduce_op == "min"
        self.calls += 1
        return torch.minimum(value, torch.tensor(self.first_elsewhere))


def watch(device: str, check_every: int = 3) -> tuple[StopAtDivergence, Any]:
    """A watch at the start of an epoch of a module on a device."""
    callback = StopAtDivergence(StageConfig(epochs=1), setting="search", check_every=check_every)
    module = type("Module", (), {"device": torch.device(device)})()
    callback.on_train_epoch_start(Elsewhere(0), module)
    return callback, module


def test_a_wrong_loss_of_another_process_ends_training_here_too() -> None:
    """All processes raise at the same step, whichever has the wrong loss."""
    callback, module = watch("cpu")
    with pytest.raises(RunError, match="step 1 of the epoch"):
        callback.on_before_backward(Elsewhere(1), module, torch.tensor(0.5))


def test_an_accelerator_waits_only_every_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Losses on another device are looked at together: at every third step, and at the end."""
    callback, module = watch("meta")
    looks: list[int] = []
    monkeypatch.setattr(callback, "_check", lambda trainer: looks.append(callback._step))
    for _ in range(7):
        callback.on_before_backward(Elsewhere(1), module, torch.tensor(0.5, device="meta"))
    callback.on_train_epoch_end(Elsewhere(1), module)
    assert looks == [3, 6, 7]


def test_tensorboard_files_are_written_on_request(tmp_path: Path) -> None:
    """One folder of event files per stage, and none without being asked."""
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    train(Line(), tmp_path / "with", tensorboard=True)
    train(Line(), tmp_path / "without")
    assert list((tmp_path / "with" / "tensorboard" / "full").glob("events.*"))
    assert not (tmp_path / "without" / "tensorboard").exists()


def test_a_missing_tensorboard_is_said_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without the package, the error names the extra to install, and no step is made."""

    def missing(*_: Any, **__: Any) -> None:
        raise ModuleNotFoundError("neither `tensorboard` nor `tensorboardX` is available")

    monkeypatch.setattr("widthwise.tasks.fit.TensorBoardLogger", missing)
    module = Line()
    with pytest.raises(ConfigError, match=r"widthwise\[tensorboard\]"):
        train(module, tmp_path, tensorboard=True)
    assert module.steps == []
