"""Denoising as a task: what a job asks of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from training import FLOAT32
from widthwise.errors import ConfigError, DataError
from widthwise.models.dncnn import DnCNN
from widthwise.tasks import TASKS
from widthwise.tasks.hardware import HardwareConfig, Precision
from widthwise.tasks.restoration.quality import Comparison
from widthwise.tasks.restoration.settings import DenoisingSettings, Distance, Place
from widthwise.tasks.restoration.task import Restoration
from widthwise.tasks.stage import StageConfig

COMPARED = Comparison(shave=1)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Smooth images, three to train on and two of other sizes to test on."""
    for split, sizes in (("train", [(40, 50)] * 3), ("test", [(33, 47), (30, 40)])):
        (tmp_path / split).mkdir()
        for number, (height, width) in enumerate(sizes):
            rows = np.sin(np.arange(height) / (5 + number))[:, None]
            columns = np.cos(np.arange(width) / (7 + number))
            values = (127 + 120 * rows * columns).astype(np.uint8)
            Image.fromarray(values).save(tmp_path / split / f"{number}.png")
    return tmp_path


def open_folder(folder: Path, **settings: Any) -> Restoration:
    known: dict[str, Any] = {"patch": 24, "batch_size": 4, "samples_per_epoch": 16, "sigma": 30.0}
    record = TASKS["denoising"](dataset=Place.folder, folder=str(folder), **{**known, **settings})
    task = record.open()
    assert isinstance(task, Restoration)
    return task


def test_a_batch_is_noise_on_clean_crops(folder: Path) -> None:
    """The difference has mean 0 and the deviation asked for; nothing is clipped or rounded."""
    task = open_folder(folder, batch_size=200, samples_per_epoch=200, sigma=70.0)
    images, clean = task.batch(0)
    noise = 255 * (images - clean)
    assert images.shape == clean.shape == (200, 1, 24, 24)
    assert noise.mean().item() == pytest.approx(0, abs=1)
    assert noise.std().item() == pytest.approx(70, rel=0.02)
    assert images.min() < -0.1 and images.max() > 1.1
    assert torch.equal((255 * clean).round(), 255 * clean)
    assert clean.min() >= 0 and clean.max() <= 1


def test_a_batch_is_decided_by_its_seed(folder: Path) -> None:
    """Same seed, same crops and noise; another seed, others."""
    task = open_folder(folder)
    images, clean = task.batch(1)
    again, other = task.batch(1), task.batch(2)
    assert torch.equal(images, again[0]) and torch.equal(clean, again[1])
    assert not torch.equal(clean, other[1])
    assert not torch.equal(images - clean, other[0] - other[1])


@pytest.mark.parametrize("kind", list(Distance))
def test_the_loss_is_the_one_chosen(kind: Distance, folder: Path) -> None:
    """Mean absolute, or mean squared, differences."""
    outputs, clean = torch.tensor([0.5, 0.0]), torch.tensor([0.0, 0.0])
    expected = {Distance.l1: 0.25, Distance.mse: 0.125}[kind]
    assert open_folder(folder, loss=kind).loss(outputs, clean).item() == expected


def test_a_network_that_does_nothing_is_as_good_as_its_input(folder: Path) -> None:
    """Measured by hand, image by image; the noise is the same at every call."""
    task = open_folder(folder)
    values: list[tuple[float, float]] = []
    for number, pixels in enumerate(pair.clean for pair in task.whole.pairs):
        generator = torch.Generator().manual_seed(_seed_of(number))
        image = pixels + 30.0 * torch.randn(pixels.shape, generator=generator)
        values.append(
            (Comparison(shave=1).psnr(image, pixels), Comparison(shave=1).ssim(image, pixels))
        )
    expected = {"psnr": np.mean([p for p, _ in values]), "ssim": np.mean([s for _, s in values])}
    found = task.evaluate(nn.Identity(), FLOAT32)
    assert found == {name: pytest.approx(value, abs=2e-3) for name, value in expected.items()}
    assert task.facts()["noisy"] == {
        name: pytest.approx(value, abs=2e-3) for name, value in expected.items()
    }
    assert task.evaluate(nn.Identity(), FLOAT32) == found


def _seed_of(number: int) -> int:
    return int(np.random.SeedSequence((0, number)).generate_state(1)[0])


def test_images_are_measured_one_by_one(folder: Path) -> None:
    """Two images of different error have the mean of their PSNR, not that of the pooled error."""
    task = open_folder(folder)
    pixels = [pair.clean for pair in task.whole.pairs]

    class Known(nn.Module):
        """Returns the first test image almost right, and others as 0."""

        def forward(self, images: Tensor) -> Tensor:
            first = pixels[0].shape == images.shape[1:]
            return (pixels[0] + 2.0)[None] / 255 if first else torch.zeros_like(images)

    expected = (
        Comparison(shave=1).psnr(pixels[0] + 2.0, pixels[0])
        + Comparison(shave=1).psnr(0 * pixels[1], pixels[1])
    ) / 2
    assert task.evaluate(Known(), FLOAT32)["psnr"] == pytest.approx(expected, abs=1e-4)


def test_a_network_is_measured_in_the_precision_of_its_run(folder: Path) -> None:
    """With bfloat16, layers put out bfloat16; what is measured is float32."""
    seen: list[torch.dtype] = []
    network = DnCNN(features=4, blocks=1)
    network.tail.register_forward_hook(lambda *args: seen.append(args[2].dtype))
    hardware = HardwareConfig(accelerator="cpu", precision=Precision.bfloat16)
    open_folder(folder).evaluate(network, hardware)
    assert set(seen) == {torch.bfloat16}


class Halving(nn.Module):
    """Needs sides that are a multiple of 4; returns its input."""

    def forward(self, images: Tensor) -> Tensor:
        assert not any(side % 4 for side in images.shape[2:])
        self.seen = tuple(images.shape[2:])
        return images


def test_sizes_that_need_padding_are_padded(folder: Path) -> None:
    """33x47 becomes 36x48 for the network, and nothing of it is measured."""
    task, network = open_folder(folder, multiple=4), Halving()
    plain = open_folder(folder).evaluate(nn.Identity(), FLOAT32)
    assert task.evaluate(network, FLOAT32) == plain
    module = task.module(network, StageConfig(epochs=1), seed=0, hardware=FLOAT32)
    assert module.restored(task.whole.pairs[0].clean, 0).shape == (1, 33, 47)
    assert network.seen == (36, 48)


@pytest.mark.parametrize(
    ("network", "problem"),
    [
        (nn.Conv2d(3, 3, 3, padding=1), "channels"),
        (nn.Conv2d(1, 1, 3), r"expected outputs \[1, 24, 24\].*got \[1, 22, 22\]"),
        (nn.Conv2d(1, 2, 1), r"got \[2, 24, 24\]"),
        (nn.Sequential(nn.Flatten(0, 1), nn.Unflatten(0, (2, 2)), nn.Flatten(2)), "for each of 2"),
    ],
)
def test_a_network_that_does_not_fit_is_refused(
    network: nn.Module, problem: str, folder: Path
) -> None:
    """The error says what was expected and got, and names the options to set."""
    with pytest.raises(ConfigError, match=rf"grey images(?s:.*){problem}(?s:.*)model\.options"):
        open_folder(folder).check(network)
    assert network.training


def test_photographs_too_small_for_the_patch_are_named_at_the_start(folder: Path) -> None:
    """Before anything is trained, `check` names the files and the setting."""
    with pytest.raises(DataError, match=r"(?s)0\.png`: 40x50.*2\.png`: 40x50.*`task\.patch`"):
        open_folder(folder, patch=41).check(nn.Identity())


def test_denoising_has_no_teacher(folder: Path) -> None:
    """A stage that asks for one is refused."""
    stage = StageConfig(epochs=1, distil=0.4)
    with pytest.raises(ConfigError, match="no use for a teacher"):
        open_folder(folder).module(
            nn.Identity(), stage, seed=0, hardware=FLOAT32, teacher=nn.Identity()
        )


def test_samples_show_input_networks_and_the_clean_image(folder: Path) -> None:
    """A row per photograph; captions are the PSNR of what is shown; modes stay as they were."""
    task, network = open_folder(folder), DnCNN(features=4, blocks=1).train()
    with torch.no_grad():
        network.tail.weight.zero_()
        network.tail.bias.zero_()
    before = network.body[0][1].running_mean.clone()
    rows = task.samples({"found": network, "full": nn.Sequential(network)})
    assert [[sample.title for sample in row] for row in rows] == [
        ["noisy", "found", "full", "clean"]
    ] * 2
    noisy, found, _, clean = rows[0]
    assert clean.image.shape == (33, 47) and clean.image.dtype == np.uint8
    assert np.array_equal(clean.image, task.whole.pairs[0].clean[0].numpy())
    assert np.array_equal(noisy.image, found.image), "this network adds nothing"
    expected = Comparison(shave=0).psnr(
        torch.from_numpy(noisy.image)[None], task.whole.pairs[0].clean
    )
    assert noisy.caption == found.caption == f"{expected:.2f} dB"
    assert clean.caption == ""
    assert network.training and torch.equal(network.body[0][1].running_mean, before)


def test_wrong_settings_are_all_named() -> None:
    """One error lists every wrong setting by its key in a recipe."""
    with pytest.raises(ConfigError) as caught:
        DenoisingSettings(sigma=0.0, patch=0, batch_size=10, samples_per_epoch=9, folder="here")
    names = ("sigma", "patch", "samples_per_epoch", "folder")
    assert all(f"`task.{name}`" in str(caught.value) for name in names)
    with pytest.raises(ConfigError, match=r"`task\.folder`"):
        DenoisingSettings(dataset=Place.folder)
