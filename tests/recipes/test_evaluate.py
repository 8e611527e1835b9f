"""A found network is measured again from its files alone, whatever its task and data."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from widthwise.cli import main
from widthwise.errors import ConfigError
from widthwise.recipes.evaluate import evaluate_run
from widthwise.runs import read_json
from widthwise.runs.results import read_results

TINY_NET = ["--model.name", "widthwise/resnet14", "--model.options", "{depth: 8, num_classes: 3}"]
FAST = ["--hardware", "{precision: float32, channels_last: false}", "--threads", "1"]


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder laid out as ImageNet is, of three classes and images of several sizes."""
    folder = tmp_path_factory.mktemp("data")
    draw = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        for name in ("n01440764", "n01443537", "n01484850"):
            place = folder / "imagenet" / split / name
            place.mkdir(parents=True)
            for number in range(count):
                shape = (int(draw.integers(40, 60)), int(draw.integers(40, 60)), 3)
                values = draw.integers(0, 256, shape, dtype=np.uint8)
                Image.fromarray(values).save(place / f"{number}.png")
    return folder


def alone(run: Path, folder: Path) -> Path:
    """A run folder with nothing but the recipe, the plan and the weights of another."""
    folder.mkdir()
    for name in ("config.yaml", "plan.json", "model.safetensors"):
        shutil.copy(run / name, folder / name)
    return folder


def assert_measured_alike(run: Path, copy: Path) -> None:
    """The copy is measured as the run was, over as many items."""
    results = read_results(run)
    assert results is not None
    values, items = evaluate_run(copy)
    assert items == results.test_items
    found = {measure.name: value for measure, value in values}
    assert found == pytest.approx(dict(results.found.measures), rel=1e-4)


def test_a_network_found_on_imagenet_is_measured_from_its_files(
    imagenet: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A folder of images of all sizes, a network searched in one twice as wide."""
    command = ["search", "imagenet_resnet50_lw_dna", "--out", str(tmp_path / "run"), *TINY_NET]
    command += ["--task.image_size", "32", "--task.batch_size", "6", "--task.workers", "0"]
    command += ["--converge.epochs", "1", "--arms", "[]", *FAST]
    monkeypatch.setenv("WIDTHWISE_DATA", str(imagenet))
    assert main(command) == 0
    copy = alone(tmp_path / "run", tmp_path / "copy")
    assert_measured_alike(tmp_path / "run", copy)
    assert read_results(tmp_path / "run").test_items == 12
    capsys.readouterr()
    assert main(["eval", str(copy)]) == 0
    assert capsys.readouterr().out.endswith(" % on 12 test items\n")
    monkeypatch.setenv("WIDTHWISE_DATA", str(tmp_path))
    assert main(["eval", str(copy)]) == 2
    assert "`imagenet` was not found" in capsys.readouterr().err


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small denoiser beside one of uniform widths."""
    run = tmp_path_factory.mktemp("denoiser") / "run"
    command = ["search", "denoise_demo", "--out", str(run), "--model.options.blocks", "3"]
    command += ["--model.options.features", "8", "--task.samples_per_epoch", "64"]
    command += ["--search.epochs", "1", "--converge.epochs", "1", "--arms", "[uniform]", *FAST]
    assert main(command) == 0
    return run


def test_a_denoiser_is_measured_from_its_files_and_shows_what_it_does(
    denoiser: Path, tmp_path: Path
) -> None:
    """PSNR and SSIM come again; pictures of every network lie in the run folder and on its page."""
    run = denoiser
    results = read_results(run)
    assert results is not None
    assert [measure.name for measure in results.measures] == ["psnr", "ssim"]
    assert_measured_alike(run, alone(run, tmp_path / "copy"))
    rows = read_json(run / "samples" / "samples.json")
    assert rows
    for row in rows:
        titles = [sample["title"] for sample in row]
        assert {"Found widths", "Uniform widths"} <= set(titles)
        for sample in row:
            with Image.open(run / "samples" / sample["file"]) as image:
                assert min(image.size) > 1
    page = (run / "report.html").read_text(encoding="utf-8")
    speed = read_json(run / "speed.json")
    assert set(speed["networks"]) == {"Found widths", "Uniform widths"}
    assert all(each["milliseconds"]["median"] > 0 for each in speed["networks"].values())
    assert "Time and memory" in page
    assert page.count("data:image/png;base64,") == sum(map(len, rows))
    assert "How far a " in page and "is not known" in page


def test_a_run_is_measured_on_other_data_than_its_own(denoiser: Path, tmp_path: Path) -> None:
    """A setting changes what the run is measured on; training data need not be there."""
    (tmp_path / "dark").mkdir()
    Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(tmp_path / "dark" / "0.png")
    settings = ["--task.dataset", "folder", "--task.train_folder", str(tmp_path / "nowhere")]
    _, items = evaluate_run(denoiser, [*settings, "--task.test_folder", str(tmp_path / "dark")])
    assert items == 1 < evaluate_run(denoiser)[1]
    with pytest.raises(ConfigError, match=r"unrecognized arguments: --task\.sigmas"):
        evaluate_run(denoiser, ["--task.sigmas", "3"])
