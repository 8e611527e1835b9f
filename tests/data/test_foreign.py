"""Data sets by the names that torchvision and timm give them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset
from torchvision import datasets

from widthwise.data import Split, load_dataset
from widthwise.data.decoding import OnDemandSplit
from widthwise.errors import ConfigError, DataError

WriteImage = Callable[..., Path]


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write an array in the format of MNIST."""
    path.parent.mkdir(parents=True, exist_ok=True)
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    path.write_bytes(header + values.astype(np.uint8).tobytes())


@pytest.fixture
def fashion(tmp_path: Path) -> np.ndarray:
    """Six training and three test images in the layout of FashionMNIST."""
    images = np.random.default_rng(0).integers(0, 256, (9, 28, 28), dtype=np.uint8)
    raw = tmp_path / "FashionMNIST" / "raw"
    for name, part in (("train", slice(0, 6)), ("t10k", slice(6, 9))):
        write_idx(raw / f"{name}-images-idx3-ubyte", images[part])
        write_idx(raw / f"{name}-labels-idx1-ubyte", np.arange(9)[part])
    return images


@pytest.mark.parametrize("name", ["torchvision/FashionMNIST", "timm/torch/fashion_mnist"])
def test_images_of_one_size_live_in_memory(name: str, fashion: np.ndarray, tmp_path: Path) -> None:
    """A small set comes as arrays, with its own statistics and its own names of classes."""
    data = load_dataset(name, folder=tmp_path)
    assert isinstance(data.train, Split)
    assert isinstance(data.test, Split)
    np.testing.assert_array_equal(data.train.images[:, 0], fashion[:6])
    np.testing.assert_array_equal(data.test.images[:, 0], fashion[6:])
    assert data.test.labels.tolist() == [6, 7, 8]
    assert data.mean == pytest.approx((fashion[:6].mean(),))
    assert data.std == pytest.approx((fashion[:6].std(),))
    assert data.classes[:2] == ("T-shirt/top", "Trouser")
    assert len(data.classes) == 10


def test_another_size_is_cut_on_demand(fashion: np.ndarray, tmp_path: Path) -> None:
    """With a size, images are cut to it, and grey ones stay grey."""
    data = load_dataset("torchvision/FashionMNIST", folder=tmp_path, image_size=20)
    assert isinstance(data.train, OnDemandSplit)
    assert data.image_shape == (1, 20, 20)
    assert len(data.mean) == len(data.std) == 1


def test_images_of_several_sizes_are_cut_on_demand(tmp_path: Path, write_image: WriteImage) -> None:
    """A set with a keyword `split`, and files of any size, works like class folders."""
    for split in ("train", "valid", "test"):
        for number, name in enumerate(("AD", "AE")):
            path = tmp_path / "country211" / split / name / "0.jpg"
            write_image(path, size=(40 + number, 30), seed=number)
    data = load_dataset("torchvision/Country211", folder=tmp_path, image_size=16)
    assert data.classes == ("AD", "AE")
    assert data.image_shape == (3, 16, 16)
    _, labels = data.test.batch([0, 1], seed=None)
    assert labels.tolist() == [0, 1]


class Fake(Dataset):
    """A data set of torchvision's kind whose images a test chooses."""

    images: tuple = ()
    labels: tuple = ()

    def __init__(self, root: Path, train: bool = True) -> None:
        self.train = train

    def __len__(self) -> int:
        return len(type(self).images)

    def __getitem__(self, number: int) -> tuple:
        return type(self).images[number], type(self).labels[number]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    """Makes torchvision know the set as `Fake`."""
    monkeypatch.setattr(datasets, "Fake", Fake, raising=False)
    monkeypatch.setattr(datasets, "__all__", (*datasets.__all__, "Fake"))
    return Fake


def noise(mode: str = "RGB", size: int = 8) -> object:
    """An image in memory."""
    from PIL import Image

    return Image.new(mode, (size, size))


def test_classes_without_names_are_counted(fake: type[Fake], tmp_path: Path) -> None:
    """Where a set does not name its classes, there are as many as training labels show."""
    fake.images, fake.labels = (noise(),) * 3, (0, 4, 2)
    assert load_dataset("torchvision/Fake", folder=tmp_path).classes == ("0", "1", "2", "3", "4")


def test_one_image_of_another_size_is_found_late(
    fake: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not all images have one size after all, they are cut on demand."""
    monkeypatch.setattr("widthwise.data.wrapping._PROBED", 2)
    fake.images, fake.labels = (noise(), noise(size=9), noise()), (0, 1, 0)
    data = load_dataset("torchvision/Fake", folder=tmp_path)
    assert isinstance(data.train, OnDemandSplit)
    assert data.image_shape == (3, 224, 224)


def test_large_sets_stay_in_files(
    fake: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of one size that do not fit are decoded on demand."""
    monkeypatch.setattr("widthwise.data.wrapping.LARGEST_IN_MEMORY", 2 * 2 * 3 * 64 - 1)
    fake.images, fake.labels = (noise(),) * 2, (0, 1)
    assert isinstance(load_dataset("torchvision/Fake", folder=tmp_path).train, OnDemandSplit)


def test_a_grey_image_in_an_rgb_set_is_named(fake: type[Fake], tmp_path: Path) -> None:
    """An image with other channels than the first is an error with its number."""
    fake.images, fake.labels = (noise(), noise("L")), (0, 1)
    message = "image 1 of the training split of `torchvision/Fake` is grey"
    with pytest.raises(DataError, match=message):
        load_dataset("torchvision/Fake", folder=tmp_path)


def test_a_label_outside_the_classes_is_named(
    fake: type[Fake], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label beyond the set's own classes is an error with the image's number."""
    monkeypatch.setattr(fake, "classes", ["a", "b"], raising=False)
    fake.images, fake.labels = (noise(), noise()), (0, 2)
    with pytest.raises(DataError, match=r"image 1 of .* has label 2, expected 0 to 1"):
        load_dataset("torchvision/Fake", folder=tmp_path)


def test_other_tasks_are_refused(fake: type[Fake], tmp_path: Path) -> None:
    """A set that gives something else than a class number is an error that says what it gives."""
    fake.images, fake.labels = (noise(),), ({"box": 1},)
    with pytest.raises(ConfigError, match="gives `Image` and `dict`, expected an image and"):
        load_dataset("torchvision/Fake", folder=tmp_path)


def test_an_empty_set_is_refused(fake: type[Fake], tmp_path: Path) -> None:
    """A set without images is an error."""
    fake.images = ()
    with pytest.raises(DataError, match="The training split of `torchvision/Fake` is empty"):
        load_dataset("torchvision/Fake", folder=tmp_path)


@pytest.mark.parametrize("name", ["EuroSAT", "EMNIST", "CocoDetection"])
def test_sets_without_two_splits_are_refused(name: str, tmp_path: Path) -> None:
    """A set that has no training and test split by name is an error with a way out."""
    with pytest.raises(ConfigError, match=r"has no training split(.|\n)*use `imagefolder`"):
        load_dataset(f"torchvision/{name}", folder=tmp_path)


def test_unknown_names_are_refused(tmp_path: Path) -> None:
    """A name that neither library knows is an error with the nearest ones."""
    with pytest.raises(ConfigError, match=r"the nearest are .*FashionMNIST"):
        load_dataset("torchvision/FashionMnist", folder=tmp_path)
    with pytest.raises(ConfigError, match="timm has no data set `timm/torch/nothing`"):
        load_dataset("timm/torch/nothing", folder=tmp_path)
    with pytest.raises(ConfigError, match="expected `timm/torch/NAME` or"):
        load_dataset("timm/wds/shards", folder=tmp_path)


def test_a_file_that_the_library_cannot_read_is_an_error(
    fashion: np.ndarray, tmp_path: Path
) -> None:
    """A damaged file is an error with the folder and the reason of the library."""
    path = tmp_path / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(
        DataError, match=f"not in `{tmp_path}`, or its files there are damaged: shape"
    ):
        load_dataset("torchvision/FashionMNIST", folder=tmp_path)


def test_timm_does_not_skip_damaged_files(tmp_path: Path, write_image: WriteImage) -> None:
    """An unreadable image is an error, where timm itself would take the next one instead."""
    from timm.data.dataset import ImageDataset

    from widthwise.data.wrapping import TimmItems

    write_image(tmp_path / "a" / "0.png")
    (tmp_path / "a" / "1.png").write_bytes(b"nothing")
    items = TimmItems(dataset=ImageDataset(str(tmp_path)), title="the training split of `x`")
    assert items[0][0].size == (64, 64)
    with pytest.raises(DataError, match="Image 1 of the training split of `x` cannot be read"):
        items[1]


def test_cutting_does_not_need_the_number_of_classes_first(
    tmp_path: Path, write_image: WriteImage
) -> None:
    """A set that keeps its labels in a private list is not decoded to count its classes."""
    for number in (0, 1, 2):
        folder = tmp_path / "gtsrb" / "GTSRB" / "Training" / f"{number:05d}"
        write_image(folder / "0.ppm", size=(20 + number, 20))
    test = tmp_path / "gtsrb" / "GTSRB" / "Final_Test" / "Images"
    write_image(test / "00000.ppm", size=(20, 20))
    (tmp_path / "gtsrb" / "GT-final_test.csv").write_text("Filename;ClassId\n00000.ppm;2\n")
    data = load_dataset("torchvision/GTSRB", folder=tmp_path, image_size=16)
    assert data.classes == ("0", "1", "2")
    assert torch.equal(data.test.batch([0], seed=None)[1], torch.tensor([2]))
