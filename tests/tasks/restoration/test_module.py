"""What happens in an epoch of denoising is decided by weights, seed and number of the epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn

from training import FLOAT32, Kept, StopAt
from training import fit as fit_module
from widthwise.data.crops import Whole
from widthwise.data.pairs import Pair
from widthwise.models.dncnn import DnCNN
from widthwise.tasks.hardware import HardwareConfig
from widthwise.tasks.restoration.module import RestorationModule
from widthwise.tasks.restoration.settings import DenoisingSettings
from widthwise.tasks.restoration.task import Restoration
from widthwise.tasks.stage import OptimizerKind, StageConfig


@pytest.fixture(scope="module")
def task() -> Restoration:
    """Small crops of the bundled photographs, measured on their middle."""
    return DenoisingSettings(
        patch=16, batch_size=16, samples_per_epoch=128, sigma=50.0, test_side=48
    ).open()


def make_module(task: Restoration, *, epochs: int = 3, seed: int = 5) -> RestorationModule:
    """A small DnCNN with dropout, to be trained by Adam."""
    torch.manual_seed(1)
    network = nn.Sequential(DnCNN(features=8, blocks=1), nn.Dropout(0.01))
    stage = StageConfig(epochs=epochs, optimizer=OptimizerKind.adam, lr=0.01, weight_decay=0.0)
    return task.module(network, stage, seed=seed, hardware=FLOAT32)


def fit(
    task: Restoration, module: RestorationModule, folder: Path, *callbacks: L.Callback
) -> list[dict[str, Any]]:
    return fit_module(
        module,
        Kept(folder),
        *callbacks,
        config=module.stage,
        measures=task.measures,
        train=task.train(module.seed),
        test=task.test(),
    )


def test_resuming_repeats_nothing_and_changes_nothing(task: Restoration, tmp_path: Path) -> None:
    """Crops, noise and dropout of the last epoch are the same after an interruption."""
    whole = make_module(task)
    expected = fit(task, whole, tmp_path / "whole")
    with pytest.raises(InterruptedError):
        fit(task, make_module(task), tmp_path / "run", StopAt(2))
    torch.manual_seed(99)
    resumed = make_module(task)
    assert fit(task, resumed, tmp_path / "run") == expected[2:]
    for mine, other in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(mine, other)


def test_training_removes_noise(task: Restoration, tmp_path: Path) -> None:
    """After a few epochs the output is more like the photograph than the input, by 2 dB."""
    rows = fit(task, make_module(task, epochs=6), tmp_path)
    assert rows[-1]["test_psnr"] > task.facts()["noisy"]["psnr"] + 2
    assert rows[-1]["test_ssim"] > task.facts()["noisy"]["ssim"]


def noise_of(folder: Path, *, seed: int) -> list[Tensor]:
    """The noise of every step of two epochs on a grey wall, which shows nothing else."""
    task = DenoisingSettings(patch=16, batch_size=16, samples_per_epoch=48).open()
    pixels = torch.full((1, 20, 20), 51, dtype=torch.uint8)
    wall = (Pair(name="wall", given=pixels, clean=pixels),)
    task.train_pairs = task.test_pairs = wall
    module = make_module(task, epochs=2, seed=seed)
    seen: list[Tensor] = []
    module.network.register_forward_pre_hook(
        lambda network, inputs: seen.append(inputs[0] - 0.2) if network.training else None
    )
    fit(task, module, folder)
    return seen


def test_noise_is_fresh_in_every_step(tmp_path: Path) -> None:
    """No two steps have anything in common, in two epochs of runs with two seeds."""
    noise = [n for seed in (5, 6) for n in noise_of(tmp_path / str(seed), seed=seed)]
    assert len(noise) == 12
    together = torch.stack(noise).flatten(1)
    assert together.std().item() * 255 == pytest.approx(70, rel=0.02)
    correlations = torch.corrcoef(together) - torch.eye(12)
    assert correlations.abs().max() < 0.1
    assert torch.equal(noise_of(tmp_path / "again", seed=5)[3], noise[3])


@pytest.mark.parametrize("wanted", [True, False])
def test_images_have_the_memory_format_of_the_run(wanted: bool, tmp_path: Path) -> None:
    """With `channels_last`, channels of the images are next to each other, and not without it."""
    task = DenoisingSettings(patch=16, batch_size=8, samples_per_epoch=8, colour=True).open()
    task.whole = Whole(task.test_pairs, largest_side=32)
    network = DnCNN(in_channels=3, features=4, blocks=1)
    seen: list[Tensor] = []
    network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    hardware = HardwareConfig(accelerator="cpu", channels_last=wanted)
    stage = StageConfig(epochs=1, lr=0.01)
    fit(task, task.module(network, stage, seed=0, hardware=hardware), tmp_path)
    assert len(seen) == 3, "one step and two photographs"
    for tensor in (*seen, network.body[0][0].weight):
        assert tensor.is_contiguous(memory_format=torch.channels_last) is wanted
