"""`widthwise compare` on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from run_folders import make_run
from widthwise.cli import main


def test_compare_prints_a_table_and_writes_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line per network, none of them broken, and the files where --out says."""
    runs = [str(make_run(tmp_path / str(seed), seed=seed)) for seed in range(3)]
    out = tmp_path / "new" / "out"
    assert main(["compare", *runs, "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "resnet20.dhp50_digits" in lines
    full = [line.split() for line in lines if line.startswith("Full network")]
    assert [line[2:5] for line in full] == [["98.50", "±", "0.00"]]
    assert (out / "compare.md").is_file()
    assert not any(line.startswith(" ") and "points" in line for line in lines)


def test_compare_refuses_an_unfinished_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, the message names the run, and nothing is written."""
    done = make_run(tmp_path / "done")
    (tmp_path / "killed").mkdir()
    (tmp_path / "killed" / "config.yaml").write_text("")
    out = tmp_path / "out"
    assert main(["compare", str(done), str(tmp_path / "killed"), "--out", str(out)]) == 2
    assert "killed`: the run in it has not finished" in capsys.readouterr().err
    assert not out.exists()
