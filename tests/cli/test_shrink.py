"""`widthwise shrink`: from a plan file and weights to a folder that is a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import widthwise as ww
from widthwise.cli import main
from widthwise.models import resolve


def test_a_plan_file_and_weights_become_a_model(
    material: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The folder loads by name and by class, computes what the cut does, and is not replaced."""
    weights, _ = material
    network = ["widthwise/resnet14", "--weights", str(weights)]
    file, out = str(tmp_path / "plan.json"), tmp_path / "narrow"
    assert main(["plan", *network, "--score", "l1", "--budget", "macs=0.5", "--out", file]) == 0
    assert main(["shrink", *network, file, "--out", str(out)]) == 0
    text = capsys.readouterr().out
    assert "Proven: the largest difference" in text and "is a MODEL" in text
    full = resolve("widthwise/resnet14").build().eval()
    full.load_state_dict(torch.load(weights, weights_only=True))
    expected = ww.shrink(full, ww.Plan.load(file))(torch.ones(1, 3, 32, 32))
    for small in (resolve(str(out)).build(), ww.load(out, resolve("widthwise/resnet14").build)):
        assert torch.equal(small.eval()(torch.ones(1, 3, 32, 32)), expected)
    assert main(["shrink", *network, file, "--out", str(out)]) == 2
    assert "holds a network already" in capsys.readouterr().err
    assert main(["shrink", *network, file, "--out", str(out), "--replace"]) == 0
    assert main(["shrink", str(out), file, "--out", str(tmp_path / "twice")]) == 2
    assert "first.then(second)" in capsys.readouterr().err
    assert main(["shrink", "widthwise/resnet20", file, "--out", str(tmp_path / "other")]) == 2
    assert "made for another network" in capsys.readouterr().err
