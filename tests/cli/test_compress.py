"""``widthwise compress``: the folder it leaves, and what it refuses."""

from __future__ import annotations

import html
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

import widthwise as ww
from widthwise.cli import main
from widthwise.models import resolve


def test_a_folder_with_everything(
    material: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The network loads by its folder, as a MODEL and in Python; the page tells what was lost."""
    weights, images = material
    out = tmp_path / "small"
    command = ["compress", "widthwise/resnet14", "--weights", str(weights), "--data", str(images)]
    command += ["--budget", "macs=0.6", "--exclude", "layer1.*", "--steps", "2"]
    command += ["--out", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    results = json.loads((out / "results.json").read_text())
    assert results["images"] == {"used": 20, "healed": 20, "compared": 10, "judged": 10}
    assert results["macs"]["narrow"] <= 0.6 * results["macs"]["full"]
    assert set(results["accuracy"]) == {"full", "cut", "narrow"}
    assert (
        f"agreement   {results['agreement']['narrow']:.1%}, without" in said and "accuracy" in said
    )
    plan = ww.Plan.load(out / "plan.json")
    assert plan.macs() == results["macs"]["narrow"]
    assert all(plan.widths[name] == 16 for name in plan.widths if name.startswith("layer1."))
    small = resolve(str(out)).build().eval()
    again = ww.load(out, resolve("widthwise/resnet14").build).eval()
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(small(x), again(x))
    page = (out / "report.html").read_text()
    assert "Width of every layer" in page and "Plans that were compared" in page
    assert f"{results['agreement']['narrow']:.1%}" in page and "What healing gave" in page
    untouched = [layer["what"] for layer in results["layers"] if layer["before"] is None]
    measured = [layer["path"] for layer in results["layers"] if layer["before"] is not None]
    assert untouched and measured
    for what in set(untouched):
        assert f"{untouched.count(what)} more: {html.escape(what)}." in page
    assert all(f"<tr><td><code>{path}</code></td>" in page for path in measured)
    assert page.count("<tr><td><code>") >= len(measured)
    assert results["refined"] is None or results["refined"]["steps"] == 2
    assert (out / "figures" / "widths.png").is_file()
    changed = round((1 - results["agreement"]["narrow"]) * 10)
    assert page.count("data:image/png;base64,") == changed

    assert main(command) == 2
    assert "holds a network already" in capsys.readouterr().err
    assert main([*command, "--replace"]) == 0


def test_a_network_of_ones_own_is_given_images_of_their_own_size(
    material: tuple[Path, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nobody knows what a factory builds for; and a network that only guesses is told of."""
    weights, images = material
    (tmp_path / "their_nets.py").write_text(
        "from widthwise.models import resolve\n\n\ndef build():\n"
        "    return resolve('widthwise/resnet14').build()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    command = ["compress", "their_nets:build", "--weights", str(weights), "--steps", "0"]
    command += ["--budget", "macs=0.6", "--exclude", "layer1.*", "--data"]
    assert main([*command, str(images), "--out", str(tmp_path / "small")]) == 0
    said = capsys.readouterr().out
    assert "inputs      3x32x32, mean 0.485" in said
    assert "the full network is hardly better than chance" in said
    mixed = tmp_path / "mixed"
    for size in (32, 40):
        mixed.mkdir(exist_ok=True)
        Image.new("RGB", (size, size)).save(mixed / f"{size}.png")
    assert main([*command, str(mixed), "--out", str(tmp_path / "no")]) == 2
    assert "--input 1,3,224,224" in capsys.readouterr().err


def test_a_cut_that_makes_it_slower_is_said(
    material: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In the terminal and on the page."""
    weights, images = material
    times = {"full": 1.0, "narrow": 1.5, "threads": 1}
    monkeypatch.setattr("widthwise.recipes.compression.milliseconds", lambda *_: times)
    command = ["compress", "widthwise/resnet14", "--weights", str(weights), "--data", str(images)]
    command += ["--include", "layer3.*", "--budget", "macs=0.9", "--steps", "0"]
    assert main([*command, "--out", str(tmp_path / "small")]) == 0
    assert "1.50 of 1.00 ms (one image, PyTorch); the cut has made it slower" in (
        capsys.readouterr().out
    )
    assert "so the cut has made it slower" in (tmp_path / "small" / "report.html").read_text()


def test_a_promise_in_the_place_of_a_budget(
    material: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of the two is needed, and not both."""
    weights, images = material
    command = ["compress", "widthwise/resnet14", "--weights", str(weights), "--data", str(images)]
    command += ["--out", str(tmp_path / "small"), "--steps", "0"]
    assert main([*command, "--stop-at", "agreement>=0.5"]) == 0
    for extra in ([], ["--budget", "macs=0.5", "--stop-at", "agreement>=0.5"]):
        with pytest.raises(SystemExit):
            main([*command, *extra])
        capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--budget", "macs=0.5"], "fresh random weights"),
        (["--budget", "macs=0.5", "--weights", "WEIGHTS", "--images", "2"], "There are 2 images"),
        (["--stop-at", "lots", "--weights", "WEIGHTS"], "no promise"),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    says: str,
    material: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before anything is written."""
    weights, images = material
    given = [str(weights) if word == "WEIGHTS" else word for word in arguments]
    command = ["compress", "widthwise/resnet14", "--data", str(images), *given]
    assert main([*command, "--out", str(tmp_path / "small")]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "small").exists()
