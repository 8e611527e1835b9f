"""What a person sees while a run trains, on a terminal and in a log file."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from run_folders import ACCURACY, ALL, PSNR, make_run
from widthwise.cli import _progress
from widthwise.cli._progress import ConsoleProgress
from widthwise.runs.results import read_results

EPOCH: dict[str, Any] = {
    "epoch": 2,
    "train_loss": 0.5,
    "test_accuracy": 0.75,
    "test_psnr": 27.512,
    "macs_fraction": 0.625,
    "seconds": 1.25,
}


def show(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> str:
    """Show one stage that was resumed after two epochs."""
    output = io.StringIO()
    console = Console(file=output, force_terminal=terminal, width=120, highlight=False)
    monkeypatch.setattr(_progress, "Console", lambda **_: console)
    with ConsoleProgress() as progress:
        progress.speak_of([ACCURACY, PSNR])
        assert progress.where() == "before the first stage"
        progress.stage_begins("search", epochs=10, done=2)
        progress.epoch_ends(EPOCH)
        assert progress.where() == "in stage `search` after 3 of 10 epochs"
        progress.stage_ends("reached the budget")
    return output.getvalue()


def test_a_log_file_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Off a terminal there is one line per event and no control character."""
    assert show(monkeypatch, terminal=False).splitlines() == [
        "search (resumed after epoch 2)",
        "  epoch  3/10  loss 0.5  test accuracy 75.0 %  PSNR 27.51 dB  MACs 62.5%  1.2 s",
        "  reached the budget",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a terminal the stage is one bar that ends complete, with what came out."""
    text = show(monkeypatch, terminal=True)
    assert "\x1b[" in text
    assert "10/10" in text
    assert "reached the budget" in text


def test_the_table_of_results_has_every_measure(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line per network in a pipe, none of them broken, with measures and costs."""
    run = make_run(tmp_path, arms=ALL, measures=[ACCURACY, PSNR])
    results = read_results(run)
    assert results is not None
    monkeypatch.setenv("COLUMNS", "60")
    ConsoleProgress().results(results)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert len(lines) == 1 + 1 + len(ALL)
    assert "test accuracy" in lines[0] and "PSNR" in lines[0]
    assert lines[1].split()[:5] == ["found", "(inherited", "weights)", "97.50", "%"]
    assert "1,266,000" in lines[1]
