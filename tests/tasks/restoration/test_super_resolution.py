"""Super-resolution as a task: pairs, what is compared, and what a job shows of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from training import FLOAT32
from widthwise.data.bicubic import larger, smaller
from widthwise.errors import ConfigError, DataError
from widthwise.tasks import TASKS
from widthwise.tasks.restoration.quality import Comparison
from widthwise.tasks.restoration.task import Restoration
from widthwise.tasks.stage import StageConfig


class Enlarging(nn.Module):
    """Bicubic scaling, as a network."""

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images: Tensor) -> Tensor:
        sides = [side * self.scale for side in images.shape[2:]]
        return functional.interpolate(images, sides, mode="bicubic", antialias=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Smooth coloured images: three to train on, and two to test on."""
    for split, sizes in (("train", [(40, 50)] * 3), ("test", [(50, 63), (41, 45)])):
        (tmp_path / split).mkdir()
        for number, (height, width) in enumerate(sizes):
            rows = np.sin(np.arange(height) / (3 + number))[:, None, None]
            columns = np.cos(np.arange(width) / (4 + number))[None, :, None]
            values = 127 + 120 * rows * columns * np.array([1.0, 0.7, -0.8])
            Image.fromarray(values.astype(np.uint8)).save(tmp_path / split / f"{number}.png")
    return tmp_path


def open_folder(folder: Path, **settings: Any) -> Restoration:
    known: dict[str, Any] = {"scale": 3, "patch": 24, "batch_size": 4, "samples_per_epoch": 16}
    from widthwise.tasks.restoration.settings import Place

    record = TASKS["super_resolution"](
        dataset=Place.folder, folder=str(folder), **{**known, **settings}
    )
    task = record.open()
    assert isinstance(task, Restoration)
    return task


def test_a_batch_is_small_crops_and_large_ones(folder: Path) -> None:
    """Turned alike: the small crop, enlarged, is about the large one, at every turn."""
    inputs, target = open_folder(folder, batch_size=64, samples_per_epoch=64).batch(0)
    assert inputs.shape == (64, 3, 8, 8) and target.shape == (64, 3, 24, 24)
    assert inputs.max() <= 1 and inputs.min() >= 0
    enlarged = Enlarging(3)(inputs)
    errors = (enlarged - target)[:, :, 6:-6, 6:-6].abs().mean((1, 2, 3))
    others = (enlarged - target.roll(1, 0))[:, :, 6:-6, 6:-6].abs().mean((1, 2, 3))
    assert errors.max() < 0.03 < others.median()


@pytest.mark.parametrize("luma", [True, False])
def test_bicubic_scaling_measures_as_it_says(luma: bool, folder: Path) -> None:
    """A network that scales is as good as what `facts` say of bicubic scaling."""
    task = open_folder(folder, luma=luma)
    compared = Comparison(shave=3, luma=luma)
    cleans = [pair.clean for pair in task.whole.pairs]
    values = [compared.psnr(larger(smaller(c, 3), 3).float(), c) for c in cleans]
    assert task.facts()["bicubic"]["psnr"] == pytest.approx(np.mean(values), abs=1e-6)
    found = task.evaluate(Enlarging(3), FLOAT32)
    assert found["psnr"] == pytest.approx(np.mean(values), abs=0.05)
    assert task.facts()["scale"] == 3 and task.facts()["luma"] is luma


def test_tiles_and_orientations_are_those_of_the_settings(folder: Path) -> None:
    """Tiles show the network small squares; with the ensemble it is called eight times as often."""
    seen: list[tuple[int, ...]] = []

    def calls_with(**settings: Any) -> list[tuple[int, ...]]:
        seen.clear()
        network = Enlarging(3)
        network.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape)))
        open_folder(folder, **settings).evaluate(network, FLOAT32)
        return list(seen)

    assert calls_with() == [(1, 3, 16, 21), (1, 3, 13, 15)]
    assert max(max(shape[2:]) for shape in calls_with(tile=6, tile_border=2)) == 10
    assert len(calls_with(self_ensemble=True)) == 16


def test_a_network_of_another_scale_is_refused(folder: Path) -> None:
    """The error names both ways out."""
    with pytest.raises(ConfigError, match=r"\[3, 24, 24\](?s:.*)\[3, 16, 16\](?s:.*)--task\.scale"):
        open_folder(folder).check(Enlarging(2))


def test_test_images_of_another_scale_are_refused(folder: Path) -> None:
    """Where nothing has been trained, and so nothing was checked before."""
    with pytest.raises(
        ConfigError, match=r"makes \[3, 32, 42\](?s:.*)is \[3, 48, 63\](?s:.*)scale"
    ):
        open_folder(folder).evaluate(Enlarging(2), FLOAT32)


def test_samples_show_bicubic_networks_and_the_large_image(folder: Path) -> None:
    """Everything at the size of the large image, with PSNR of brightness."""
    task = open_folder(folder)
    rows = task.samples({"found": Enlarging(3)})
    assert [[sample.title for sample in row] for row in rows] == [["bicubic", "found", "clean"]] * 2
    bicubic, found, clean = rows[0]
    assert bicubic.image.shape == found.image.shape == clean.image.shape == (48, 63, 3)
    assert np.array_equal(clean.image, task.whole.pairs[0].clean.permute(1, 2, 0).numpy())
    assert float(bicubic.caption.split()[0]) == pytest.approx(
        float(found.caption.split()[0]), abs=0.1
    )


def test_folders_may_be_named_one_by_one(folder: Path) -> None:
    """Training and test images of two places; without one of them the error names the keys."""
    task = open_folder(
        folder / "nowhere", train_folder=str(folder / "train"), test_folder=str(folder / "test")
    )
    assert len(task.train_pairs) == 3 and len(task.test_pairs) == 2
    other = open_folder(folder / "nowhere", train_folder=str(folder / "train"))
    with pytest.raises(DataError, match=r"nowhere/test` is not a folder(?s:.*)task\.test_folder"):
        _ = other.test_pairs


def test_wrong_settings_are_all_named() -> None:
    """One error lists every wrong setting by its key in a recipe."""
    with pytest.raises(ConfigError) as caught:
        TASKS["super_resolution"](scale=4, patch=30, shave=-1, tile=0, train_folder="here")
    names = ("patch", "shave", "tile", "folder")
    assert all(f"`task.{name}`" in str(caught.value) for name in names)


def test_one_step_of_training_moves_towards_the_large_image(folder: Path) -> None:
    """The loss is the distance of the output from the large crop, and has gradients."""
    task = open_folder(folder)
    network = nn.Sequential(nn.Conv2d(3, 27, 3, padding=1), nn.PixelShuffle(3))
    module = task.module(network, StageConfig(epochs=1), seed=0, hardware=FLOAT32)
    inputs, target = task.batch(3)
    loss = task.loss(module.network(inputs), target)
    loss.backward()
    before = loss.item()
    with torch.no_grad():
        for parameter in network.parameters():
            assert parameter.grad is not None
            parameter -= 0.1 * parameter.grad
    assert task.loss(network(inputs), target).item() < before
