"""A checkpoint is a MODEL where spandrel knows its network; other files say the way out."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import widthwise as ww
from widthwise.errors import ConfigError
from widthwise.models import resolve


def test_a_checkpoint_is_a_model_with_its_weights(tmp_path: Path) -> None:
    """Built anew each time, traced and cut; an architecture of spandrel is an import path."""
    pytest.importorskip("spandrel")
    torch.manual_seed(0)
    architecture = resolve("spandrel.architectures.Compact:Compact")
    full = architecture.build(num_feat=8, num_conv=2, upscale=2)
    torch.save(full.state_dict(), tmp_path / "x2.pth")
    spec = resolve(str(tmp_path / "x2.pth"))
    x = torch.rand(spec.input_shape)
    first, second = spec.build().eval(), spec.build().eval()
    assert first is not second
    assert torch.equal(first(x), full.eval()(x))
    assert (spec.mean, spec.std, spec.has_weights) == ((0.0,) * 3, (1.0,) * 3, True)
    plan = ww.plan(ww.trace(first, x), score=ww.scores.L1(), budget=ww.Macs(0.6))
    assert ww.shrink(first, plan)(x).shape == (1, 3, 128, 128)


def test_without_spandrel_a_file_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What to install, or how else to name the network."""
    monkeypatch.setitem(sys.modules, "spandrel", None)
    (tmp_path / "x4.pth").touch()
    with pytest.raises(ConfigError, match=r"widthwise\[restoration\](.|\n)*--weights"):
        resolve(str(tmp_path / "x4.pth"))


def test_other_files_are_refused_with_a_way_out(tmp_path: Path) -> None:
    """Weights of an unknown network, and a file that is none."""
    pytest.importorskip("spandrel")
    torch.save(torch.nn.Linear(2, 2).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(ConfigError, match=r"knows(.|\n)*--weights"):
        resolve(str(tmp_path / "linear.pth"))
    (tmp_path / "broken.pth").write_bytes(b"nothing")
    with pytest.raises(ConfigError, match=r"Cannot read `.*broken\.pth`"):
        resolve(str(tmp_path / "broken.pth"))
