"""A run's network restores images of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from widthwise.cli import main
from widthwise.errors import ConfigError, DataError, RunError
from widthwise.models import resolve
from widthwise.recipes.restore import restored_images

FAST = ["--hardware", "{precision: float32, channels_last: false}", "--threads", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a small network that enlarges images twofold."""
    folder = tmp_path_factory.mktemp("restore") / "run"
    command = ["search", "super_resolution_demo", "--out", str(folder), "--model.options.blocks"]
    command += ["1", "--model.options.features", "8", "--task.samples_per_epoch", "64"]
    command += ["--search.epochs", "1", "--converge.epochs", "1", "--arms", "[]", *FAST]
    assert main(command) == 0
    return folder


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    """A coloured image and a grey one."""
    draw = np.random.default_rng(0)
    paths = [tmp_path / "own" / name for name in ("colour.jpg", "grey.png")]
    paths[0].parent.mkdir()
    for path, shape in zip(paths, [(21, 30, 3), (17, 12)], strict=True):
        Image.fromarray(draw.integers(0, 256, shape, dtype=np.uint8)).save(path)
    return paths


def test_images_become_what_the_network_makes_of_them(
    run: Path, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice as large, the network's own output; in tiles that see far enough the same."""
    assert main(["restore", str(run), *map(str, images), "--out", str(tmp_path / "out")]) == 0
    assert str(tmp_path / "out" / "colour.png") in capsys.readouterr().out
    with Image.open(images[0]) as image:
        pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    with torch.no_grad():
        output = resolve(str(run)).build().eval()(pixels[None].float() / 255)[0]
    expected = (output * 255).clamp(0, 255).round().permute(1, 2, 0).numpy()
    with Image.open(tmp_path / "out" / "colour.png") as image:
        found = np.array(image)
    assert found.shape == (42, 60, 3)
    assert np.abs(found - expected).max() <= 1
    with Image.open(tmp_path / "out" / "grey.png") as image:
        assert image.size == (24, 34)
    tiles = ["--task.tile", "8", "--task.tile_border", "12"]
    again = [path for _, path in restored_images(run, images, tmp_path / "tiles", tiles)]
    with Image.open(again[0]) as image:
        assert np.abs(np.array(image).astype(int) - found).max() <= 1


def test_nothing_is_written_over_an_image_or_another_result(
    run: Path, images: list[Path], tmp_path: Path
) -> None:
    """The error names the image; a damaged one is named before anything is written."""
    with pytest.raises(ConfigError, match=r"grey\.png` would be written to"):
        restored_images(run, images[1:], images[1].parent)
    (tmp_path / "grey.jpg").write_bytes(b"no image")
    twice = [*images, tmp_path / "grey.jpg"]
    with pytest.raises(ConfigError, match="where another image is"):
        list(restored_images(run, twice, tmp_path / "out"))
    with pytest.raises(DataError, match=r"grey\.jpg"):
        list(restored_images(run, [images[0], twice[-1]], tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_other_folders_are_refused(tmp_path: Path, images: list[Path]) -> None:
    """A folder without a finished run, and a run of another task."""
    with pytest.raises(RunError, match="no finished run"):
        list(restored_images(tmp_path, images, tmp_path / "out"))
    command = ["search", "digits", "--out", str(tmp_path / "digits"), "--arms", "[]", *FAST]
    assert main([*command, "--search.epochs", "1", "--converge.epochs", "1"]) == 0
    with pytest.raises(ConfigError, match="`classification`, which makes no images"):
        list(restored_images(tmp_path / "digits", images, tmp_path / "out"))
