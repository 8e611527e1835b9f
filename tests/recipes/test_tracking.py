"""Searches on a tracker: every method of the frame, from rendered clips to a report."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import widthwise as ww
from widthwise.cli import main
from widthwise.models.siamese import SiameseTracker
from widthwise.runs.results import read_results

TINY = [
    *("--model.options.widths", "[8, 8, 8, 12, 12]"),
    *("--task.pairs", "16"),
    *("--task.batch_size", "8"),
    *("--task.test_clips", "1"),
    *("--task.test_length", "3"),
    *("--task.render.width", "64"),
    *("--task.render.height", "64"),
    *("--task.render.smallest", "12"),
    *("--task.render.largest", "24"),
    *("--converge.epochs", "1"),
    *("--limits.round_to", "1"),
    *("--threads", "1"),
]


@pytest.mark.parametrize(
    ("method", "arms"),
    [
        (
            ["--search.epochs", "1", "--method.steps", "2", "--method.check_every", "1"],
            ["found", "full", "uniform"],
        ),
        # It takes minutes to measure what every axis is worth.
        pytest.param(
            ["--search.epochs", "1", "--method.steps", "2", "--method.check_every", "1"],
            ["found", "compress"],
            marks=pytest.mark.slow,
        ),
        (["--method.name", "lw_dna", "--budget.macs", "1.0"], ["found", "full"]),
    ],
    ids=["dhp", "dhp beside compress", "lw_dna"],
)
def test_widths_are_found_and_reported(tmp_path: Path, method: list[str], arms: list[str]) -> None:
    """Of a frame's MACs no more than asked for; a report with curves, and weights to load."""
    chosen = ["--arms", f"[{', '.join(arms[1:])}]"]
    assert main(["search", "tracking_demo", "--out", str(tmp_path), *TINY, *method, *chosen]) == 0
    results = read_results(tmp_path)
    assert results is not None
    assert [arm.arm for arm in results.arms] == arms
    assert results.found.macs <= (1.0 if method[1] == "lw_dna" else 0.5) * results.full.macs
    assert set(results.found.measures) == {
        "auc",
        "precision",
        "normalised_precision",
        "success_50",
    }
    page = (tmp_path / "report.html").read_text()
    assert "Success over overlap" in page
    network = ww.load(tmp_path, lambda: SiameseTracker((8, 8, 8, 12, 12)))
    assert network(torch.zeros(2, 3, 64, 64), torch.zeros(2, 3, 128, 128)).shape == (2, 1, 9, 9)
