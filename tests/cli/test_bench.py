"""`widthwise bench` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.cli import main
from widthwise.models import resolve
from widthwise.runs import write_model

QUICK = ["--seconds", "0", "--threads", "1", "--no-memory"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a narrow ResNet-14."""
    folder = tmp_path_factory.mktemp("run")
    model = resolve("widthwise/resnet14").build()
    graph = ww.trace(model, torch.zeros(1, 3, 32, 32))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.4))
    ww.save(ww.shrink(model, plan, verify=False), plan, folder)
    write_model(folder, "widthwise/resnet14")
    return folder


def test_full_and_found_stand_side_by_side(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run gives two networks; all is in the file, with the machine."""
    out = tmp_path / "bench.json"
    command = ["bench", str(run), "--engine", "eager", "--batch", "1,2", *QUICK]
    assert main([*command, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"{run} (full)" in said and f"{run} (found)" in said and str(out) in said
    written = json.loads(out.read_text())
    assert written["machine"]["torch"] == torch.__version__
    rows = written["measured"]
    assert [(row["batch"], row["network"].split()[-1]) for row in rows] == [
        (1, "(full)"), (1, "(found)"), (2, "(full)"), (2, "(found)")
    ]  # fmt: skip
    for row in rows:
        times = row["milliseconds"]
        assert 0 < times["low"] <= times["median"] <= times["high"]
        assert row["engine"] == "eager" and row["threads"] == 1


def test_a_file_runs_in_onnxruntime_beside_a_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The batch of the file is free, and taken from --batch; other engines say why not."""
    pytest.importorskip("onnxruntime")
    from widthwise.export import to_onnx

    path = tmp_path / "net.onnx"
    to_onnx(nn.Conv2d(3, 4, 3), torch.zeros(1, 3, 8, 8), path)
    engines = ["--engine", "onnxruntime", "--engine", "eager", "--batch", "3"]
    out = tmp_path / "bench.json"
    assert main(["bench", str(path), *engines, *QUICK, "--out", str(out)]) == 0
    first, second = json.loads(out.read_text())["measured"]
    assert first["batch"] == 3 and first["milliseconds"]["median"] > 0
    assert second["milliseconds"] is None
    assert f"Not measured: {path} in eager: An ONNX file runs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nowhere.onnx"], "There is no file `nowhere.onnx`"),
        (["widthwise/resnet15"], "No model named"),
        (["widthwise/resnet14", "--device", "cuda"], "no GPU"),
    ],
)
def test_what_cannot_be_measured_is_an_error(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The exit code is 2, and the message says what is wrong."""
    if "cuda" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert main(["bench", *arguments, *QUICK]) == 2
    assert says in capsys.readouterr().err


def test_a_damaged_file_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no ONNX file says so."""
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.onnx").write_bytes(b"no such thing")
    assert main(["bench", str(tmp_path / "net.onnx"), *QUICK]) == 2
    assert "onnxruntime cannot open" in capsys.readouterr().err
