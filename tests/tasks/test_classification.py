"""What happens in an epoch is decided by weights, seed and the number of the epoch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from widthwise.data import ImageClasses, Split
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import RunError
from widthwise.runs import RunFolder, read_metrics
from widthwise.tasks.classification import Classification
from widthwise.tasks.fit import fit_stage
from widthwise.tasks.hardware import HardwareConfig, Precision
from widthwise.tasks.stage import Schedule, StageConfig

FLOAT32 = HardwareConfig(accelerator="cpu", precision=Precision.float32)


class Silent:
    """A progress that nobody sees."""

    def stage_begins(self, title: str, *, epochs: int, done: int) -> None: ...
    def epoch_ends(self, metrics: object) -> None: ...
    def stage_ends(self, summary: str) -> None: ...
    def note(self, text: str) -> None: ...


def make_data() -> ImageClasses:
    """Forty random images in two classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 17, (40, 1, 4, 4), dtype=torch.uint8, generator=generator)
    split = Split(images=images, labels=torch.arange(40) % 2)
    return ImageClasses(train=split, test=split, classes=("a", "b"), mean=(8.0,), std=(5.0,))


def make_module(**stage: Any) -> Classification:
    """A linear network with dropout, to be trained for three epochs."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2))
    config = StageConfig(**{"epochs": 3, "lr": 0.1, **stage})
    return Classification(
        network, data=make_data(), stage=config, setting="converge", shift=1, flip=False, seed=5
    )


def fit(
    module: Classification, folder: Path, *callbacks: L.Callback, tensorboard: bool = False
) -> list[dict[str, str]]:
    """Train for three epochs and give the lines of metrics.csv."""
    data = make_data()
    run = RunFolder(folder, config={}, environment={}, resume=(folder / "config.yaml").exists())
    try:
        fit_stage(
            module,
            run=run,
            stage="full",
            title="full network",
            config=module.stage,
            hardware=FLOAT32,
            tensorboard=tensorboard,
            train=train_batches(data.train, batch_size=8, seed=5),
            test=eval_batches(data.test, batch_size=16),
            progress=Silent(),
            callbacks=callbacks,
        )
    finally:
        run.close()
    return [{k: v for k, v in row.items() if k != "seconds"} for row in read_metrics(folder)]


class Rates(L.Callback):
    """Notes the learning rate that every step is made with."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


class StopAt(L.Callback):
    """Raises at the start of an epoch, and draws random numbers until then."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        torch.rand(3)
        if trainer.current_epoch == self.epoch:
            raise InterruptedError


def test_every_step_has_the_rate_of_its_epoch(tmp_path: Path) -> None:
    """Five steps per epoch are made with the scheduled rate, which metrics.csv shows too."""
    rates = Rates()
    stage = {"schedule": Schedule.step, "milestones": (1,)}
    rows = fit(make_module(**stage), tmp_path / "run", rates)
    assert rates.seen == pytest.approx([0.1] * 5 + [0.01] * 10)
    assert [float(row["lr"]) for row in rows] == pytest.approx([0.1, 0.01, 0.01])


def test_resuming_repeats_nothing_and_changes_nothing(tmp_path: Path) -> None:
    """With dropout and shifts, a stage stopped before an epoch ends like one that was not."""
    whole = make_module()
    expected = fit(whole, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(make_module(), tmp_path / "run", StopAt(2))
    torch.manual_seed(99)
    resumed, rates = make_module(), Rates()
    assert fit(resumed, tmp_path / "run", rates) == expected
    assert len(rates.seen) == 5, "only the steps of the third epoch"
    for mine, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_images_are_normalised() -> None:
    """The network sees raw values minus mean, divided by standard deviation."""
    module = make_module()
    seen: list[Tensor] = []
    module.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    module(torch.full((2, 1, 4, 4), 13, dtype=torch.uint8))
    assert torch.equal(seen[0], torch.ones(2, 1, 4, 4))


def test_normalisation_is_not_part_of_the_weights() -> None:
    """The state dict holds the network's own tensors only."""
    assert set(make_module().state_dict()) == {"network.2.weight", "network.2.bias"}


def test_a_loss_that_is_not_finite_ends_training(tmp_path: Path) -> None:
    """The error names epoch, step, rate and the setting to lower; nothing is recorded."""
    module = make_module()
    with torch.no_grad():
        module.network[2].weight.fill_(float("nan"))
    with pytest.raises(RunError, match=r"loss is nan in epoch 1, step 1 (?s:.*)--converge.lr 0.01"):
        fit(module, tmp_path / "run")
    assert read_metrics(tmp_path / "run") == []


def test_gradients_are_clipped_to_the_norm(tmp_path: Path) -> None:
    """No step sees gradients whose common norm is above the limit; without one, some are longer."""
    norms: dict[str, list[float]] = {"clipped": [], "free": []}

    class Norms(L.Callback):
        def __init__(self, seen: list[float]) -> None:
            self.seen = seen

        def on_before_zero_grad(
            self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
        ) -> None:
            gradients = [p.grad.norm() for p in module.parameters() if p.grad is not None]
            if gradients:
                self.seen.append(float(torch.stack(gradients).norm()))

    fit(make_module(clip_norm=0.01), tmp_path / "clipped", Norms(norms["clipped"]))
    fit(make_module(), tmp_path / "free", Norms(norms["free"]))
    assert max(norms["clipped"]) == pytest.approx(0.01, rel=1e-3)
    assert max(norms["free"]) > 0.1


def test_the_average_is_what_is_measured_and_kept(tmp_path: Path) -> None:
    """With a decay of one half, the weights after an epoch are the half-life mean of its steps."""
    steps: list[Tensor] = []

    class Weights(L.Callback):
        def on_train_batch_end(
            self, trainer: L.Trainer, module: L.LightningModule, *_: Any, **__: Any
        ) -> None:
            steps.append(module.network[2].weight.detach().clone())

    module = make_module(epochs=1, ema=0.5)
    fit(module, tmp_path / "run", Weights())
    average = steps[0]
    for weight in steps[1:]:
        average = (average + weight) / 2
    assert len(steps) == 5
    assert torch.allclose(module.network[2].weight, average, atol=1e-6)
    assert not torch.allclose(steps[-1], average, atol=1e-3)


@pytest.mark.parametrize("mix", [{"mixup": 0.5}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 1.0}])
def test_mixed_images_come_with_mixed_labels(mix: dict[str, float]) -> None:
    """A mixed batch has labels between the classes that sum to one, and other images."""
    module = make_module(**mix)
    assert module.mix is not None
    # Large enough that the box of CutMix is not empty.
    images, labels = torch.rand(8, 1, 64, 64), torch.arange(8) % 2
    torch.manual_seed(0)
    mixed, targets = module.mix(images, labels)
    assert mixed.shape == images.shape and not torch.equal(mixed, images)
    assert torch.allclose(targets.sum(dim=1), torch.ones(8))
    assert ((targets > 0) & (targets < 1)).any()


def test_tensorboard_files_are_written_on_request(tmp_path: Path) -> None:
    """One folder of event files per stage, and none without being asked."""
    pytest.importorskip("tensorboard", reason="tensorboard is an extra")
    fit(make_module(epochs=1), tmp_path / "with", tensorboard=True)
    fit(make_module(epochs=1), tmp_path / "without")
    assert list((tmp_path / "with" / "tensorboard" / "full").glob("events.*"))
    assert not (tmp_path / "without" / "tensorboard").exists()
