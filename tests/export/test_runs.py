"""`widthwise export` on a run folder: names, facts, and what is said when something is missing."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

import widthwise as ww
from run_folders import make_run
from widthwise.cli import main
from widthwise.errors import RunError
from widthwise.export import onnx as onnx_module
from widthwise.export.runs import Format, export_run, metadata
from widthwise.models import resolve


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with the weights of a narrow ResNet-14."""
    folder = make_run(tmp_path_factory.mktemp("run"))
    torch.manual_seed(0)
    options = {"in_channels": 1}
    model = resolve("widthwise/resnet14").build(**options)
    graph = ww.trace(model, torch.zeros(1, 1, 8, 8))
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.4))
    ww.save(ww.shrink(model, plan), plan, folder)
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["model"] = {"name": "widthwise/resnet14", "options": options}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_the_file_is_named_after_the_network(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --out it lies in the run folder, and computes what the run's network computes."""
    assert main(["export", str(run), "--format", "torch_export"]) == 0
    path = run / "resnet14.dhp40_digits.pt2"
    text = capsys.readouterr().out
    assert str(path) in text
    assert "MB; largest difference from PyTorch on random inputs" in text
    assert "Note" not in text
    images = torch.randn(3, 1, 8, 8)
    with torch.no_grad():
        expected = resolve(str(run)).build().eval()(images)
        got = torch.export.load(path).module()(images)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


def test_onnx_is_the_default(run: Path, tmp_path: Path) -> None:
    """--out names the file; the facts of the run are in it."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    assert main(["export", str(run), "--out", str(tmp_path / "mine.onnx")]) == 0
    loaded = onnx.load(tmp_path / "mine.onnx")
    facts = {entry.key: entry.value for entry in loaded.metadata_props}
    assert facts["name"] == "resnet14.dhp40_digits"
    assert facts == metadata(run)


def test_metadata_is_what_a_user_of_the_file_needs(run: Path) -> None:
    """Costs of the plan, measures, and what the task knew when the run was trained."""
    facts = metadata(run)
    plan = ww.Plan.load(run / "plan.json")
    assert int(facts["macs"]) == plan.macs()
    assert int(facts["full_macs"]) == plan.full_macs
    assert json.loads(facts["widths"]) == plan.widths
    assert facts["data"] == "digits"
    assert json.loads(facts["classes"]) == ["no", "yes"]
    assert float(facts["accuracy"]) == 0.975


def test_no_data_set_is_needed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Class names come from the run folder, whatever set the run was trained on."""
    monkeypatch.setenv("WIDTHWISE_DATA", str(tmp_path))
    before = (run / "config.yaml").read_text(encoding="utf-8")
    config = yaml.safe_load(before)
    config["task"]["dataset"] = "timm/hfds/no/such-set"
    (run / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    try:
        (exported,) = export_run(run, Format.torch_export, tmp_path / "a.pt2")
    finally:
        (run / "config.yaml").write_text(before, encoding="utf-8")
    assert exported.metadata["name"] == "resnet14.dhp40_such_set"
    assert json.loads(exported.metadata["classes"]) == ["no", "yes"]


def test_missing_facts_are_said(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without facts.json the network is exported, with a note of what the file lacks."""
    facts = (run / "facts.json").read_bytes()
    (run / "facts.json").unlink()
    try:
        assert main(["export", str(run), "--format", "torch_export"]) == 0
    finally:
        (run / "facts.json").write_bytes(facts)
    assert "Note: the run folder has no facts.json" in capsys.readouterr().out


def test_a_run_without_a_network_is_refused(tmp_path: Path) -> None:
    """An unfinished run says how to go on with it."""
    (tmp_path / "config.yaml").write_text("")
    with pytest.raises(RunError, match=r"no plan\.json(?s:.*)--resume"):
        export_run(tmp_path, Format.onnx)


def test_missing_extras_are_an_error_with_the_command(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On the command line too, the way out is one line to copy."""
    monkeypatch.setattr(onnx_module, "_NEEDS", ("no_such_package",))
    assert main(["export", str(run)]) == 2
    assert "pip install 'widthwise[export]'" in capsys.readouterr().err


def test_export_is_imported_only_when_asked() -> None:
    """Neither the report nor `widthwise.export` itself loads ONNX or its runtime."""
    code = (
        "import sys, widthwise.export, widthwise.report\n"
        "print(sorted({'onnx', 'onnxscript', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
