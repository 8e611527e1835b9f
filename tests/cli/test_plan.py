"""``widthwise plan`` by scores that look at data."""

from __future__ import annotations

from pathlib import Path

import pytest

import widthwise as ww
from widthwise.cli import main


@pytest.mark.parametrize(
    "score", ["variance", "feature-rank", "fisher", "reconstruction", "taylor"]
)
def test_a_score_of_data_decides(
    score: str, material: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The plan meets the budget, and is not that of another score."""
    weights, images = material
    command = ["plan", "widthwise/resnet14", "--weights", str(weights), "--budget", "macs=0.5"]
    assert main([*command, "--out", str(tmp_path / "l1.json")]) == 0
    command += ["--score", score, "--data", str(images), "--out", str(tmp_path / "plan.json")]
    assert main(command) == 0
    assert "Note" not in capsys.readouterr().out
    plan = ww.Plan.load(tmp_path / "plan.json")
    assert plan.macs() <= 0.5 * plan.full_macs
    assert plan.axes != ww.Plan.load(tmp_path / "l1.json").axes


def test_what_is_missing_is_named(
    material: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """A score of data without a folder, and one of labels without any."""
    weights, images = material
    command = ["plan", "widthwise/resnet14", "--weights", str(weights), "--budget", "macs=0.5"]
    assert main([*command, "--score", "fisher"]) == 2
    assert "--data FOLDER" in capsys.readouterr().err
    assert main([*command, "--score", "taylor", "--data", str(images / "kind0")]) == 2
    assert "a folder per class" in capsys.readouterr().err
