"""The number formats of a run reach the network."""

from __future__ import annotations

import shutil
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
    """What is fastest on the machine, and channels last, unless something else is asked for."""
    hardware = HardwareConfig()
    assert hardware.precision is Precision.auto
    assert hardware.memory_format is torch.channels_last


@pytest.mark.parametrize("has", [True, False])
def test_auto_is_bfloat16_only_where_the_hardware_has_it(
    has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without instructions for it bfloat16 is emulated, slowly, so it is not chosen; said why."""
    for name in dir(torch.cpu):
        if name.startswith("_is_") and name.endswith("_supported"):
            monkeypatch.setattr(torch.cpu, name, lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has)
    hardware = HardwareConfig(accelerator="cpu")
    expected = Precision.bfloat16 if has else Precision.float32
    assert hardware.trainer_options()["precision"] == expected.lightning
    with hardware.precision.autocast(torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu") is has
    assert hardware.describe_precision().startswith(f"{expected.value} (auto: ")


def test_what_was_asked_for_is_done() -> None:
    """A precision that is named is used on any device."""
    hardware = HardwareConfig(accelerator="cpu", precision=Precision.bfloat16)
    assert hardware.trainer_options()["precision"] == "bf16-mixed"
    assert hardware.describe_precision() == "bfloat16"


def test_no_devices_are_refused() -> None:
    """Devices and machines are at least one each."""
    with pytest.raises(ConfigError, match=r"hardware\.devices"):
        HardwareConfig(devices=0)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_training_gives_the_same_weights(tmp_path: Path) -> None:
    """Compiling changes how fast a step is, and not what it computes."""
    plain, _, _ = trained(tmp_path / "plain", precision=Precision.float32)
    compiled, _, _ = trained(tmp_path / "compiled", precision=Precision.float32, compile=True)
    torch.testing.assert_close(compiled.weight, plain.weight, rtol=1e-4, atol=1e-5)


def test_training_is_compiled_only_where_that_was_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that fails is not met without `compile`, and else named with the way out."""

    def broken(graph: object, inputs: object) -> None:
        raise RuntimeError("no such instruction")

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda function, **_: real(function, backend=broken))
    trained(tmp_path / "plain")
    with pytest.raises(ConfigError, match=r"hardware\.compile: false"):
        trained(tmp_path / "compiled", compile=True)
