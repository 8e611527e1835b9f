"""Class folders: what is found, how images are cut, and what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional

from widthwise.data import ImageClasses, load_dataset
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import DataError

WriteImage = Callable[..., Path]
CLASSES = ("ant", "bee", "cat")


@pytest.fixture
def folder(tmp_path: Path, write_image: WriteImage) -> Path:
    """Three classes with four training images of different sizes and two others each."""
    for label, name in enumerate(CLASSES):
        for number in range(4):
            path = tmp_path / "train" / name / f"{number}.png"
            write_image(path, size=(40 + 3 * number, 50 - 2 * label), seed=10 * label + number)
        for number in range(2):
            write_image(tmp_path / "val" / name / f"{number}.jpg", size=(60, 45), seed=number)
    return tmp_path


def load(folder: Path) -> ImageClasses:
    """Load the miniature with small cuts."""
    return load_dataset("imagefolder", folder=folder, image_size=28)


def epoch(
    data: ImageClasses, *, number: int = 0, seed: int = 0, workers: int = 0
) -> list[torch.Tensor]:
    """Images and labels of one training epoch, flat."""
    loader = train_batches(data.train, batch_size=4, seed=seed, workers=workers)
    loader.sampler.set_epoch(number)
    return [tensor for batch in loader for tensor in batch]


def equal(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    """Whether two epochs are the same, bit by bit."""
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_classes_are_folders_in_order(folder: Path) -> None:
    """Classes are numbered by the names of their folders; images have the size asked for."""
    data = load(folder)
    assert data.classes == CLASSES
    assert (len(data.train), len(data.test)) == (12, 6)
    assert data.image_shape == (3, 28, 28)
    images, labels = data.train.batch([0, 5, 11], seed=None)
    assert images.dtype == torch.uint8
    assert labels.tolist() == [0, 1, 2]
    assert data.mean == pytest.approx((123.675, 116.28, 103.53))
    assert data.std == pytest.approx((58.395, 57.12, 57.375))


def test_images_are_cut_to_224_by_default(folder: Path) -> None:
    """Without a size, images have that of most networks for ImageNet."""
    assert load_dataset("imagefolder", folder=folder).image_shape == (3, 224, 224)


def test_evaluation_sees_the_middle(folder: Path) -> None:
    """The shorter side becomes 256/224 of the size, and the square in the middle is cut out."""
    data = load(folder)
    image = Image.open(folder / "val" / "ant" / "0.jpg")
    resized = functional.resize(image, [32])
    expected = functional.pil_to_tensor(functional.center_crop(resized, [28]))
    assert torch.equal(data.test.first(1)[0], expected)
    (images, labels), *_ = eval_batches(data.test, batch_size=6)
    assert torch.equal(images, data.test.first(6))
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]


def test_training_cuts_anew_every_epoch(folder: Path) -> None:
    """A cut depends on seed, epoch and image, and on nothing else."""
    data = load(folder)
    first = epoch(data)
    torch.rand(3)
    assert equal(first, epoch(data))
    assert not equal(first, epoch(data, number=1))
    assert not equal(first, epoch(data, seed=1))
    alone, _ = data.train.batch([7], seed=5)
    among, _ = data.train.batch([2, 7], seed=5)
    assert torch.equal(alone[0], among[1])
    other, _ = data.train.batch([7], seed=6)
    assert not torch.equal(alone, other)


def test_two_images_of_one_batch_are_cut_apart(tmp_path: Path, write_image: WriteImage) -> None:
    """Equal images come out differently cut: every image has its own draw."""
    for name in ("train/a/0.png", "train/a/1.png", "val/a/0.png"):
        write_image(tmp_path / name, size=(40, 40))
    images, _ = load(tmp_path).train.batch([0, 1], seed=0)
    assert not torch.equal(images[0], images[1])


def test_workers_change_nothing(folder: Path) -> None:
    """Two workers give bit for bit what none gives, in every epoch."""
    data = load(folder)
    loader = train_batches(data.train, batch_size=4, seed=3, workers=2)
    for number in (0, 1):
        loader.sampler.set_epoch(number)
        found = [tensor for batch in loader for tensor in batch]
        assert equal(found, epoch(data, number=number, seed=3))


def test_the_global_generator_is_left_alone(folder: Path) -> None:
    """Cutting draws nothing from the generator that dropout draws from."""
    data = load(folder)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    data.train.batch([0, 1], seed=0)
    assert torch.equal(torch.rand(3), expected)


def test_a_folder_named_test_serves_too(folder: Path) -> None:
    """Without `val`, the test split is in `test`."""
    (folder / "val").rename(folder / "test")
    assert len(load(folder).test) == 6


@pytest.mark.parametrize(("gone", "sought"), [("train", "`train/CLASS"), ("val", "`val/CLASS")])
def test_a_missing_split_is_named(gone: str, sought: str, folder: Path) -> None:
    """The error says which folders were looked for and where."""
    shutil.rmtree(folder / gone)
    with pytest.raises(DataError, match=f"looked for {sought}.* in `{folder}`"):
        load(folder)


def test_differing_class_folders_are_named(folder: Path) -> None:
    """A class of one split that the other lacks is an error."""
    (folder / "val" / "bee").rename(folder / "val" / "wasp")
    with pytest.raises(DataError, match="differ: `bee` in `train`, but not in `val`"):
        load(folder)
    shutil.rmtree(folder / "train" / "bee")
    with pytest.raises(DataError, match="differ: `wasp` in `val`, but not in `train`"):
        load(folder)


def test_an_empty_class_folder_is_named(folder: Path) -> None:
    """A class without images is an error."""
    for path in (folder / "train" / "cat").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=r"train/cat` has no images \(1 of 3"):
        load(folder)


def test_a_split_without_class_folders_is_named(folder: Path) -> None:
    """Images that lie in no class folder are an error that says how they have to lie."""
    shutil.rmtree(folder / "val")
    (folder / "val").mkdir()
    with pytest.raises(DataError, match=r"no class folders in .*val"):
        load(folder)


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "grey"), ("CMYK", "CMYK"), ("RGBA", "RGB with alpha")]
)
@pytest.mark.parametrize("workers", [0, 2])
def test_an_image_with_other_channels_is_named(
    mode: str, kind: str, workers: int, folder: Path, write_image: WriteImage
) -> None:
    """A grey image among RGB ones is an error with its path, from a worker too, and a way out."""
    suffix = "png" if mode == "RGBA" else "jpg"
    path = write_image(folder / "train" / "bee" / f"x.{suffix}", mode=mode)
    with pytest.raises(DataError) as caught:
        epoch(load(folder), workers=workers)
    text = str(caught.value)
    assert text.startswith(f"The image `{path}` is {kind} (Pillow mode `{mode}`), expected RGB")
    assert 'convert("RGB")' in text
    assert "Traceback" not in text


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_an_unreadable_image_is_named(content: bytes, folder: Path) -> None:
    """A file that is no image is an error with its path."""
    path = folder / "train" / "ant" / "0.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"The image `{path}` cannot be read"):
        epoch(load(folder))


def test_a_truncated_image_is_named(folder: Path) -> None:
    """A file that was cut short is an error with its path."""
    path = folder / "val" / "ant" / "0.jpg"
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=f"The image `{path}` cannot be read"):
        load(folder).test.first(1)


def test_imagenet_converts_its_grey_images(folder: Path, write_image: WriteImage) -> None:
    """The published set has grey and CMYK images: under its own name they become RGB."""
    grey = write_image(folder / "val" / "ant" / "0.jpg", mode="L", size=(32, 32))
    data = load_dataset("imagenet", folder=folder, image_size=28)
    image = np.array(Image.open(grey))[2:30, 2:30]
    assert torch.equal(data.test.first(1)[0], torch.from_numpy(image).expand(3, -1, -1))


@pytest.mark.parametrize("inside", ["imagenet", "ILSVRC2012"])
def test_imagenet_may_lie_in_a_folder_of_its_own(inside: str, folder: Path) -> None:
    """It is found below the folder of all data sets."""
    (folder / inside).mkdir()
    for name in ("train", "val"):
        (folder / name).rename(folder / inside / name)
    assert len(load_dataset("imagenet", folder=folder).train) == 12


def test_whole_images_are_neither_cut_nor_resized_further_than_needed(
    tmp_path: Path, write_image: WriteImage
) -> None:
    """What has the size is evaluated as it is; training cuts parts out unless told otherwise."""
    for split in ("train", "val"):
        for number, name in enumerate(CLASSES):
            write_image(tmp_path / split / name / "0.png", size=(28, 28), seed=number)
    raw = torch.stack(
        [functional.pil_to_tensor(Image.open(tmp_path / "train" / c / "0.png")) for c in CLASSES]
    )
    for whole in (False, True):
        data = load_dataset("imagefolder", folder=tmp_path, image_size=28, whole=whole)
        for split in (data.train, data.test):
            assert torch.equal(split.first(3), raw)
        images, labels = data.train.batch([2, 0], seed=5)
        assert torch.equal(images, raw[labels]) == whole and labels.tolist() == [2, 0]
    smaller = load_dataset("imagefolder", folder=tmp_path, image_size=14, whole=True).test.first(1)
    with Image.open(tmp_path / "val" / "ant" / "0.png") as image:
        resized = functional.pil_to_tensor(functional.resize(image, [14]))
    assert torch.equal(smaller[0], resized)
