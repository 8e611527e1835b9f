"""The number formats of a run reach the network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from training import Kept, fit
from widthwise.data import ImageClasses, Split
from widthwise.errors import ConfigError
from widthwise.tasks.classification.settings import ClassificationSettings
from widthwise.tasks.hardware import HardwareConfig, Precision
from widthwise.tasks.stage import StageConfig


def trained(folder: Path, **hardware: object) -> tuple[nn.Module, Tensor, Tensor]:
    """A convolution that was trained; what it got, and what it put out while it was trained."""
    config = HardwareConfig(accelerator="cpu", **hardware)
    torch.manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 8, 8), dtype=torch.uint8)
    split = Split(images=images, labels=torch.arange(8) % 2)
    data = ImageClasses(
        train=split, test=split, classes=("a", "b"), mean=(127.0,) * 3, std=(70.0,) * 3
    )
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 2))
    seen: list[tuple[Tensor, Tensor]] = []

    def note(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        if module.training:
            seen.append((inputs[0], output))

    network[0].register_forward_hook(note)
    task = ClassificationSettings(dataset="random", batch_size=8).open()
    task.data = data
    stage = StageConfig(epochs=1, lr=0.1)
    module = task.module(network, stage, seed=0, hardware=config)
    train, test = task.train(0), task.test()
    fit(
        module,
        Kept(folder),
        config=stage,
        measures=task.measures,
        train=train,
        test=test,
        hardware=config,
    )
    return network[0], *seen[0]


@pytest.mark.parametrize(
    ("precision", "expected"),
    [(Precision.bfloat16, torch.bfloat16), (Precision.float32, torch.float32)],
)
def test_layers_compute_in_the_precision_of_the_run(
    precision: Precision, expected: torch.dtype, tmp_path: Path
) -> None:
    """Outputs of a trained layer have that type, and its weights are float32 in any case."""
    layer, _, output = trained(tmp_path, precision=precision)
    assert output.dtype is expected
    assert layer.weight.dtype is torch.float32


@pytest.mark.parametrize("wanted", [True, False])
def test_images_and_weights_have_the_memory_format_of_the_run(wanted: bool, tmp_path: Path) -> None:
    """With `channels_last`, channels are next to each other in memory, and not without it."""
    layer, images, _ = trained(tmp_path, channels_last=wanted)
    for tensor in (layer.weight, images):
        assert tensor.is_contiguous(memory_format=torch.channels_last) is wanted
        assert tensor.is_contiguous() is not wanted


def test_the_defaults_are_the_fast_ones() -> None:
    """Bfloat16 and channels last, unless something else is asked for."""
    hardware = HardwareConfig()
    assert hardware.precision is Precision.bfloat16
    assert hardware.memory_format is torch.channels_last


def test_no_devices_are_refused() -> None:
    """Devices and machines are at least one each."""
    with pytest.raises(ConfigError, match=r"hardware\.devices"):
        HardwareConfig(devices=0)
