"""Networks measured side by side: what is measured, and what is said where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from widthwise.errors import ConfigError
from widthwise.latency import Engine, Setting
from widthwise.latency.engines import ready
from widthwise.latency.memory import peak_bytes
from widthwise.latency.side_by_side import Subject, side_by_side
from widthwise.network.inputs import Inputs

IMAGE = Inputs.of(torch.zeros(1, 3, 8, 8))


class Wide(nn.Module):
    """Holds two activations of so many megabytes at once."""

    def __init__(self, megabytes: int) -> None:
        super().__init__()
        self.megabytes = megabytes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        big = torch.ones(self.megabytes, 250_000) * x.sum()
        return (big + 1).sum()


def test_peak_memory_is_what_the_activations_take() -> None:
    """Two tensors of 100 MB are held at once: 200 MB, within what the system rounds."""
    small, large = (peak_bytes(Wide(m), IMAGE, Setting()) for m in (1, 100))
    if small is None:
        pytest.skip("this system does not tell")
    assert large is not None
    assert 190e6 < large - small < 215e6


def test_memory_that_cannot_be_measured_is_left_out() -> None:
    """A network that is no pickle, and a compiled one."""
    net = nn.Conv2d(3, 4, 3)
    assert peak_bytes(net, IMAGE, Setting(engine=Engine.compiled)) is None
    net.hidden = lambda: 0  # type: ignore[assignment]
    assert peak_bytes(net, IMAGE, Setting()) is None


def test_the_network_is_left_alone_and_runs_in_evaluation_mode() -> None:
    """Statistics of a network in training mode do not move, and gradients are not recorded."""
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    out = ready(net, IMAGE, Setting())()
    assert isinstance(out, torch.Tensor) and not out.requires_grad
    assert net.training and net[1].training
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_network_without_values_is_measured() -> None:
    """On the meta device constants stand in."""
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    out = ready(net, IMAGE, Setting())()
    assert isinstance(out, torch.Tensor) and bool(out.isfinite().all())


def test_onnxruntime_computes_what_pytorch_does(tmp_path: Path) -> None:
    """The network that is measured is the network."""
    pytest.importorskip("onnxruntime")
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval()
    image = torch.randn(2, 3, 8, 8)
    setting = Setting(engine=Engine.onnxruntime)
    (out,) = ready(net, Inputs.of(image), setting)()  # type: ignore[misc]
    torch.testing.assert_close(torch.from_numpy(out), net(image).detach(), rtol=1e-4, atol=1e-4)


def test_every_setting_and_subject_has_a_record(tmp_path: Path) -> None:
    """In order; a file that PyTorch cannot run says why, and the others are measured."""
    subjects = [
        Subject(name="net", network=nn.Conv2d(3, 4, 3), example=IMAGE),
        Subject(name="file", network=tmp_path / "a.onnx", example=IMAGE),
    ]
    settings = [Setting(batch=1), Setting(batch=4)]
    said: list[str] = []
    found = side_by_side(subjects, settings, seconds=0, memory=False, progress=said.append)
    assert [(each.name, each.setting.batch) for each in found] == [
        ("net", 1), ("file", 1), ("net", 4), ("file", 4)
    ]  # fmt: skip
    for each in found[::2]:
        assert each.times is not None and each.throughput is not None
        assert each.throughput == pytest.approx(each.setting.batch / each.times.median * 1e3)
    assert found[1].times is None and "onnxruntime only" in str(found[1].why_not)
    assert said[0] == "eager, batch 1: prepare net"


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"threads": 0}, {"device": "tpu"}])
def test_settings_are_checked(wrong: dict[str, object]) -> None:
    """What nothing can be measured in is refused."""
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Setting(**wrong)  # type: ignore[arg-type]
