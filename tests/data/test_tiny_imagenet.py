"""Tiny-ImageNet as published and re-sorted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from widthwise.data import ImageClasses, decoding, load_dataset, tiny_imagenet
from widthwise.data.batches import eval_batches, train_batches
from widthwise.errors import DataError
from widthwise.tasks.classification.settings import ClassificationSettings

WriteImage = Callable[..., Path]
CLASSES = ("n01", "n02", "n03")
TEST = ("n03", "n01", "n02", "n01")
"""Classes of the test images, as their list has them."""


@pytest.fixture
def place(tmp_path: Path, write_image: WriteImage) -> Path:
    """A miniature as published: three classes with two training images each, four test images."""
    place = tmp_path / "tiny-imagenet-200"
    for label, name in enumerate(CLASSES):
        for number in range(2):
            path = place / "train" / name / "images" / f"{name}_{number}.JPEG"
            write_image(path, seed=10 * label + number)
    lines = []
    for number, name in enumerate(TEST):
        write_image(place / "val" / "images" / f"val_{number}.JPEG", seed=100 + number)
        lines.append(f"val_{number}.JPEG\t{name}\t0\t0\t62\t62\n")
    (place / "val" / "val_annotations.txt").write_text("".join(lines))
    (place / "wnids.txt").write_text("n02\nn01\nn03\n")
    (place / "words.txt").write_text("n00\tnothing\nn01\tgoldfish, Carassius\nn03\tbee\n")
    return place


def load(place: Path) -> ImageClasses:
    """Load the miniature from the folder above it."""
    return load_dataset("tiny_imagenet", folder=place.parent)


def test_the_published_layout_needs_no_sorting(place: Path) -> None:
    """Test images get their classes from the list; classes are ordered by WordNet number."""
    data = load(place)
    assert data.classes == ("goldfish, Carassius", "n02", "bee")
    assert data.image_shape == (3, 64, 64)
    _, labels = data.train.batch(range(6), seed=None)
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    images, labels = data.test.batch(range(4), seed=None)
    assert labels.tolist() == [2, 0, 1, 0]
    for number, image in enumerate(images):
        decoded = np.array(Image.open(place / "val" / "images" / f"val_{number}.JPEG"))
        np.testing.assert_array_equal(image.permute(1, 2, 0), decoded)
    assert data.mean == pytest.approx((122.451, 114.2655, 101.3625))
    assert data.std == pytest.approx((58.701, 57.7575, 57.681))


@pytest.mark.parametrize("inside", ["", "images"])
def test_the_resorted_layout_is_read_too(inside: str, place: Path) -> None:
    """Test images in class folders are found, with or without a folder `images` in each."""
    for number, name in enumerate(TEST):
        target = place / "val" / name / inside
        target.mkdir(parents=True, exist_ok=True)
        (place / "val" / "images" / f"val_{number}.JPEG").rename(target / f"val_{number}.JPEG")
    (place / "val" / "images").rmdir()
    assert load(place).test.batch(range(4), seed=None)[1].tolist() == [0, 0, 1, 2]


def test_grey_images_become_rgb(place: Path, write_image: WriteImage) -> None:
    """The published set has grey images; all three channels get their values."""
    path = write_image(place / "train" / "n01" / "images" / "n01_0.JPEG", mode="L")
    image = load(place).train.first(1)[0]
    for channel in image:
        np.testing.assert_array_equal(channel, np.array(Image.open(path)))


def test_a_missing_data_set_says_how_to_get_it(tmp_path: Path) -> None:
    """The error names the file looked for, and where the set is published."""
    with pytest.raises(
        DataError, match=r"`tiny-imagenet-200/wnids\.txt` in .*\n.*cs231n.*download"
    ):
        load_dataset("tiny_imagenet", folder=tmp_path)


def test_a_missing_class_folder_is_named(place: Path) -> None:
    """A class of wnids.txt without training images is an error."""
    (place / "wnids.txt").write_text("n01\nn02\nn03\nn04\n")
    with pytest.raises(DataError, match=r"each of the 4 classes in wnids\.txt, got 3; .* `n04`"):
        load(place)


def test_a_test_image_of_an_unknown_class_is_named(place: Path) -> None:
    """A class in the list of test images that wnids.txt lacks is an error with the line."""
    with (place / "val" / "val_annotations.txt").open("a") as file:
        file.write("val_9.JPEG\tn99\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match=r"line 5: class `n99` is not in wnids\.txt"):
        load(place)


def test_a_broken_line_is_named(place: Path) -> None:
    """A line without a class is an error with its number."""
    (place / "val" / "val_annotations.txt").write_text("val_0.JPEG\n")
    with pytest.raises(DataError, match=r"line 1: expected a file and a class, got 'val_0\.JPEG'"):
        load(place)


def test_a_missing_test_image_is_named(place: Path) -> None:
    """An image of the list that is not there is an error with its path, before any batch."""
    (place / "val" / "images" / "val_2.JPEG").unlink()
    with pytest.raises(DataError, match=r"val_2\.JPEG` cannot be read"):
        eval_batches(load(place).test, batch_size=2)


def test_an_image_of_another_size_is_named(place: Path, write_image: WriteImage) -> None:
    """All images have 64 by 64 pixels."""
    write_image(place / "train" / "n02" / "images" / "n02_1.JPEG", size=(32, 64))
    with pytest.raises(DataError, match=r"n02_1\.JPEG` has 32x64 pixels, expected 64x64"):
        train_batches(load(place).train, batch_size=2, seed=0)


def test_facts_are_had_without_decoding(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names, mean and number of images need no image; an example needs as many as it shows."""
    decoded: list[Path] = []
    usual = decoding.FileItems.__getitem__

    def noted(items: decoding.FileItems, number: int) -> tuple[Image.Image, int]:
        decoded.append(items.files[number][0])
        return usual(items, number)

    monkeypatch.setattr(decoding.FileItems, "__getitem__", noted)
    settings = ClassificationSettings(dataset="tiny_imagenet", folder=str(place.parent))
    task = settings.open()
    assert task.facts()["classes"] == ["goldfish, Carassius", "n02", "bee"]
    assert (len(task.data.train), task.test_items) == (6, 4)
    assert decoded == []
    task.example()
    assert len(decoded) == 4


def test_images_are_decoded_once(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many loaders are made of a split."""
    calls: list[str] = []
    usual = tiny_imagenet.decode_all
    monkeypatch.setattr(
        tiny_imagenet, "decode_all", lambda *a, **k: calls.append("decode") or usual(*a, **k)
    )
    data = load(place)
    for _ in range(3):
        assert len(list(train_batches(data.train, batch_size=2, seed=0))) == 3
    assert calls == ["decode"]
