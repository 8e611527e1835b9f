"""``widthwise plan`` by scores that look at data."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import widthwise as ww
from meters import Computed
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


def test_the_report_shows_what_budgets_are_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A column and a line for each quantity, and whether the budget can be met."""
    monkeypatch.setattr("widthwise.cost.latency.Machine", lambda setting: Computed())
    command = ["trace", "widthwise/resnet14", "--budget", "macs=0.5", "--budget", "params=0.000001"]
    assert main([*command, "--budget", "latency=0.6,threads=1"]) == 0
    printed = capsys.readouterr().out
    model = ww.models.resolve("widthwise/resnet14").build()
    graph = ww.trace(model, torch.zeros(1, 3, 32, 32))
    header = next(line for line in printed.splitlines() if "axis" in line).split("┃")
    assert [each.strip() for each in header[5:8]] == ["MACs", "params", "latency"]
    stem = next(line for line in printed.splitlines() if line.startswith("│ conv1"))
    without = graph.everything.copy()
    without[graph.axes["conv1"].units] = False
    assert stem.split("│")[6].strip() == f"{1 - graph.params(without) / graph.params():.1%}"
    assert f"In parameters: {graph.params():,} for the full network" in printed
    assert f"macs=0.5 allows {graph.macs() / 2:,.0f} MACs, and can be met." in printed
    assert "parameters, and cannot be met: the narrowest plan is above it." in printed
    assert "milliseconds, and can be met." in printed


def test_latency_is_predicted_and_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A number is a share, as of other budgets; what is measured with follows after commas."""
    monkeypatch.setattr("widthwise.cost.latency.Machine", lambda setting: Computed())
    command = ["plan", "widthwise/resnet14", "--out", str(tmp_path / "plan.json")]
    assert main([*command, "--budget", "latency=0.6,threads=1,batch=2"]) == 0
    said = capsys.readouterr().out
    plan = ww.Plan.load(tmp_path / "plan.json")
    assert "ms measured" in said and "batch 2, 1 thread" in said
    assert plan.budget == {"latency": "0.6"}
    assert plan.latency["bound"] == pytest.approx(0.6 * plan.latency["full"])
    assert plan.latency["measured"] <= plan.latency["bound"] * (1 + 1e-9)


@pytest.mark.parametrize(
    ("budget", "says"),
    [
        ("latency=2.5", "such as 2.5ms"), ("latency=0.5,quickly", "says nothing of how"),
        ("latency=0.5,batch=two", "says nothing of how"), ("latency=0.5,engine=abacus", "abacus"),
        ("latency=0.5,threads=0", "threads"),
    ],
)  # fmt: skip
def test_latency_that_cannot_be_read_is_an_error(
    budget: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Milliseconds without their unit, and what is no option."""
    assert main(["plan", "widthwise/resnet14", "--budget", budget]) == 2
    assert says in capsys.readouterr().err


def test_networks_of_two_inputs_are_planned_without_images(
    material: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By weights; a folder of images cannot be a template and a search crop at once."""
    _, images = material
    command = ["plan", "widthwise/siamese", "--budget", "macs=0.5"]
    assert main([*command, "--score", "l1", "--out", str(tmp_path / "plan.json")]) == 0
    plan = ww.Plan.load(tmp_path / "plan.json")
    assert plan.macs() <= 0.5 * plan.full_macs
    capsys.readouterr()
    assert main([*command, "--score", "variance", "--data", str(images)]) == 2
    assert "takes 2 inputs" in capsys.readouterr().err
