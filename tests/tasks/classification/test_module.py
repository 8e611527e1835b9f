"""What happens in an epoch is decided by weights, seed and the number of the epoch alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from training import Kept, StopAt
from training import fit as fit_module
from widthwise.data import ImageClasses, Split
from widthwise.data.batches import eval_batches, train_batches
from widthwise.tasks.classification.module import ACCURACY, ClassificationModule
from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.stage import Schedule, StageConfig

MIXES = ("label_smoothing", "mixup", "cutmix")


def make_data() -> ImageClasses:
    """Forty random images in two classes."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 17, (40, 1, 4, 4), dtype=torch.uint8, generator=generator)
    split = Split(images=images, labels=torch.arange(40) % 2)
    return ImageClasses(train=split, test=split, classes=("a", "b"), mean=(8.0,), std=(5.0,))


def make_module(*, teacher: nn.Module | None = None, **options: Any) -> ClassificationModule:
    """A linear network with dropout, to be trained for three epochs."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(16, 2))
    task = {name: options.pop(name) for name in MIXES if name in options}
    return ClassificationModule(
        network,
        data=make_data(),
        settings=ClassificationSettings(dataset="random", shift=1, **task),
        stage=StageConfig(**{"epochs": 3, "lr": 0.1, **options}),
        seed=5,
        teacher=teacher,
    )


def fit(
    module: ClassificationModule, folder: Path, *callbacks: L.Callback, **more: Any
) -> list[dict[str, Any]]:
    """Train on the random images and give the metrics."""
    data = make_data()
    return fit_module(
        module,
        Kept(folder),
        *callbacks,
        config=module.stage,
        measures=[ACCURACY],
        train=train_batches(data.train, batch_size=8, seed=5),
        test=eval_batches(data.test, batch_size=16),
        **more,
    )


class Rates(L.Callback):
    """Notes the learning rate that every step is made with."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_before_optimizer_step(
        self, trainer: L.Trainer, module: L.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        self.seen.append(optimizer.param_groups[0]["lr"])


def test_every_step_has_the_rate_of_its_epoch(tmp_path: Path) -> None:
    """Five steps per epoch are made with the scheduled rate, which the metrics show too."""
    rates = Rates()
    stage = {"schedule": Schedule.step, "milestones": (1,)}
    rows = fit(make_module(**stage), tmp_path / "run", rates)
    assert rates.seen == pytest.approx([0.1] * 5 + [0.01] * 10)
    assert [row["lr"] for row in rows] == pytest.approx([0.1, 0.01, 0.01])


def test_parts_keep_their_factor_of_the_scheduled_rate(tmp_path: Path) -> None:
    """Every epoch, a part with a factor has so many times the rate that the metrics show."""
    rates = Rates()
    module = make_module(schedule=Schedule.step, milestones=(1,), lr_factors={"2.bias": 0.5})
    rows = fit(module, tmp_path / "run", rates)
    assert rates.seen == pytest.approx([0.1] * 5 + [0.01] * 10)
    assert [group["lr"] for group in module.optimizers().param_groups] == pytest.approx(
        [0.01, 0.005]
    )
    assert [row["lr"] for row in rows] == pytest.approx([0.1, 0.01, 0.01])


def test_resuming_repeats_nothing_and_changes_nothing(tmp_path: Path) -> None:
    """With dropout and shifts, a stage stopped before an epoch ends like one that was not."""
    whole = make_module()
    expected = fit(whole, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(make_module(), tmp_path / "run", StopAt(2))
    torch.manual_seed(99)
    resumed, rates = make_module(), Rates()
    assert fit(resumed, tmp_path / "run", rates) == expected[2:]
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
