"""CIFAR-10 and CIFAR-100 in both layouts, and what is said about damaged files."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from widthwise.data import ImageClasses, load_dataset
from widthwise.data.cifar import CIFAR10, CIFAR100, Cifar
from widthwise.errors import ConfigError, DataError

EACH = 4
"""Images per file of a miniature."""
SETS = {"cifar10": CIFAR10, "cifar100": CIFAR100}
LABELS = {"cifar10": b"labels", "cifar100": b"fine_labels"}
NAMES = {"cifar10": b"label_names", "cifar100": b"fine_label_names"}


def images_of(number: int) -> np.ndarray:
    """Images of one file."""
    return np.random.default_rng(number).integers(0, 256, (EACH, 3072), dtype=np.uint8)


def labels_of(cifar: Cifar, number: int) -> list[int]:
    """Labels of one file, the largest one among them."""
    return [(number + i) % cifar.classes for i in range(EACH - 1)] + [cifar.classes - 1]


def write_binary(cifar: Cifar, folder: Path) -> Path:
    """Write a miniature in the binary layout and return its folder."""
    layout = cifar.layouts[0]
    place = folder / layout.folder
    place.mkdir(parents=True)
    for number, name in enumerate(layout.files):
        columns = [np.array(labels_of(cifar, number), np.uint8)]
        if cifar.label_bytes == 2:
            columns.insert(0, np.full(EACH, 7, np.uint8))  # coarse labels, not used
        records = np.concatenate([np.stack(columns, axis=1), images_of(number)], axis=1)
        (place / name).write_bytes(records.tobytes())
    (place / layout.names).write_text("\n".join(f"name{i}" for i in range(cifar.classes)) + "\n\n")
    return place


def write_python(
    cifar: Cifar, folder: Path, *, dump: Callable[[Any], bytes] = pickle.dumps
) -> Path:
    """Write a miniature in the layout of pickles and return its folder."""
    layout = cifar.layouts[1]
    place = folder / layout.folder
    place.mkdir(parents=True)
    for number, name in enumerate(layout.files):
        found = {b"data": images_of(number), LABELS[cifar.name]: labels_of(cifar, number)}
        (place / name).write_bytes(dump(found))
    names = [f"name{i}".encode() for i in range(cifar.classes)]
    (place / layout.names).write_bytes(pickle.dumps({NAMES[cifar.name]: names}))
    return place


def load(cifar: Cifar, folder: Path) -> ImageClasses:
    """Load a miniature by name."""
    return load_dataset(cifar.name, folder=folder)


@pytest.mark.parametrize("write", [write_binary, write_python])
@pytest.mark.parametrize("name", SETS)
def test_both_layouts_give_the_same_data_set(
    name: str, write: Callable[..., Path], tmp_path: Path
) -> None:
    """Images, fine labels and names of classes are those that were written, file after file."""
    cifar = SETS[name]
    write(cifar, tmp_path)
    data = load(cifar, tmp_path)
    parts = len(cifar.layouts[0].train)
    for split, numbers in ((data.train, range(parts)), (data.test, [parts])):
        expected = np.concatenate([images_of(number) for number in numbers])
        assert split.first(99).numpy().tobytes() == expected.tobytes()
        assert split.first(99).shape[1:] == (3, 32, 32)
        labels = [label for number in numbers for label in labels_of(cifar, number)]
        assert split.batch(range(len(split)), seed=None)[1].tolist() == labels
    assert data.classes == tuple(f"name{i}" for i in range(cifar.classes))
    assert data.mean == (125.3, 123.0, 113.9)
    assert data.std == (63.0, 62.1, 66.7)


def python_2_pickle(found: dict[bytes, Any]) -> bytes:
    """Write what Python 2 wrote: texts are bytes, and arrays have the names they had then."""
    (_, images), (key, labels) = found.items()
    raw = images.tobytes()
    return b"".join(
        [
            b"\x80\x02}(U\x04data",
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01",
            bytes([ord("K"), len(images)]) + b"M\x00\x0c\x86",
            b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff",
            b"K\x00tb\x89T" + len(raw).to_bytes(4, "little") + raw + b"tb",
            b"U" + bytes([len(key)]) + key + b"](",
            b"".join(bytes([ord("K"), label]) for label in labels),
            b"eu.",
        ]
    )


def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    """The published files, written by Python 2 and an old numpy, are understood."""
    write_python(CIFAR10, tmp_path, dump=python_2_pickle)
    assert load(CIFAR10, tmp_path).train.first(EACH).numpy().tobytes() == images_of(0).tobytes()


def test_the_folder_may_be_the_data_set_itself(tmp_path: Path) -> None:
    """The folder of the files is as good as the one above it."""
    place = write_binary(CIFAR10, tmp_path)
    assert len(load(CIFAR10, place).test) == EACH


def test_without_the_list_of_names_classes_are_numbered(tmp_path: Path) -> None:
    """The list of names is not needed."""
    (write_binary(CIFAR10, tmp_path) / "batches.meta.txt").unlink()
    assert load(CIFAR10, tmp_path).classes == tuple("0123456789")


def test_a_missing_data_set_says_where_and_how(tmp_path: Path) -> None:
    """The error names what was looked for, the folder, and three ways to get or find it."""
    with pytest.raises(DataError) as caught:
        load(CIFAR10, tmp_path / "nowhere")
    text = str(caught.value)
    for part in (
        "`cifar-10-batches-bin/data_batch_1.bin` or `cifar-10-batches-py/data_batch_1`",
        str(tmp_path / "nowhere"),
        "which is not a folder",
        "--task.download true",
        "`task.folder`",
        "WIDTHWISE_DATA",
    ):
        assert part in text


def test_a_missing_batch_file_is_named(tmp_path: Path) -> None:
    """One file of six missing is not a missing data set."""
    (write_binary(CIFAR10, tmp_path) / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4\.bin` cannot be read: No such file"):
        load(CIFAR10, tmp_path)


def test_of_two_layouts_the_complete_one_is_read(tmp_path: Path) -> None:
    """Remains of one layout are not in the way of the other."""
    place = write_binary(CIFAR10, tmp_path)
    (place / "data_batch_4.bin").unlink()
    write_python(CIFAR10, tmp_path)
    assert len(load(CIFAR10, tmp_path).train) == 5 * EACH


@pytest.mark.parametrize("kept", [0, 3073 * EACH - 1, 100])
def test_a_truncated_batch_file_is_named_with_its_bytes(kept: int, tmp_path: Path) -> None:
    """A file that ends inside an image is an error with the bytes expected and found."""
    path = write_binary(CIFAR10, tmp_path) / "data_batch_2.bin"
    path.write_bytes(path.read_bytes()[:kept])
    message = (
        rf"data_batch_2\.bin` is damaged: expected a multiple of 3,073 bytes, 30,730,000 as "
        rf"published, got {kept:,} bytes"
    )
    with pytest.raises(DataError, match=message):
        load(CIFAR10, tmp_path)


def test_a_file_cut_between_two_images_is_noticed(tmp_path: Path) -> None:
    """A file with fewer images than its neighbours is an error."""
    path = write_binary(CIFAR10, tmp_path) / "data_batch_5.bin"
    path.write_bytes(path.read_bytes()[:-3073])
    with pytest.raises(DataError, match=r"data_batch_5\.bin` .* expected 4 images .* got 3"):
        load(CIFAR10, tmp_path)


def test_a_truncated_pickle_is_named_with_its_bytes(tmp_path: Path) -> None:
    """A pickle that ends early is an error with its size."""
    path = write_python(CIFAR100, tmp_path) / "train"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match=r"train` is damaged: its 5,000 bytes are not a pickle"):
        load(CIFAR100, tmp_path)


def test_a_pickle_of_grey_images_is_refused(tmp_path: Path) -> None:
    """Arrays of one channel where three are expected are an error with both shapes."""
    path = write_python(CIFAR10, tmp_path) / "test_batch"
    grey = {b"data": images_of(0)[:, :1024], b"labels": [0] * EACH}
    path.write_bytes(pickle.dumps(grey))
    with pytest.raises(
        DataError, match=r"expected RGB images as uint8 \[n, 3072\], got uint8 \[4, 1024\]"
    ):
        load(CIFAR10, tmp_path)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        ([1, 2], "expected a mapping with `data`, `labels`"),
        ({b"data": images_of(0)}, "expected a mapping with `labels`"),
        ({b"data": images_of(0), b"labels": [1]}, r"for each of 4 images, got int64 \[1\]"),
        ({b"data": images_of(0), b"labels": [0.5] * EACH}, "got float64"),
    ],
)
def test_a_pickle_of_something_else_is_refused(found: Any, message: str, tmp_path: Path) -> None:
    """A pickle without images, or without a label for each, is an error that says what is wrong."""
    (write_python(CIFAR10, tmp_path) / "test_batch").write_bytes(pickle.dumps(found))
    with pytest.raises(DataError, match=message):
        load(CIFAR10, tmp_path)


@pytest.mark.parametrize("write", [write_binary, write_python])
def test_a_label_outside_the_classes_is_named(write: Callable[..., Path], tmp_path: Path) -> None:
    """A label that no class has is an error with file, image and label."""
    place = write(CIFAR10, tmp_path)
    name = "test_batch.bin" if write is write_binary else "test_batch"
    if write is write_binary:
        content = bytearray((place / name).read_bytes())
        content[2 * 3073] = 10
    else:
        labels = [0, 1, 10, 3]
        content = bytearray(pickle.dumps({b"data": images_of(0), b"labels": labels}))
    (place / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}` .*image 2 has label 10, expected 0 to 9"):
        load(CIFAR10, tmp_path)


def test_a_wrong_number_of_names_is_refused(tmp_path: Path) -> None:
    """A list of names must have one for every class."""
    (write_binary(CIFAR10, tmp_path) / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(DataError, match="expected names of 10 classes, got 2"):
        load(CIFAR10, tmp_path)


def test_images_can_be_written_to(tmp_path: Path) -> None:
    """Tensors do not share the read-only bytes of the file."""
    write_binary(CIFAR10, tmp_path)
    data = load(CIFAR10, tmp_path)
    images = data.test.first(1)
    images.zero_()
    assert torch.equal(data.test.first(1), torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_another_image_size_is_refused(tmp_path: Path) -> None:
    """An option that would have no effect is an error."""
    with pytest.raises(ConfigError, match=r"`task\.image_size` is 64, but the images of `cifar10`"):
        load_dataset("cifar10", folder=tmp_path, image_size=64)


def test_samples_to_judge_by_are_test_images(tmp_path: Path) -> None:
    """Whoever compresses a network is told of images that it was not trained on."""
    from widthwise.data.samples import samples_in

    write_binary(CIFAR10, tmp_path)
    data = load(CIFAR10, tmp_path)
    found = samples_in(tmp_path, shape=(1, 3, 32, 32), count=9, judged=3)
    assert len(found) == 9
    assert found.labels is not None
    for place, image in enumerate(found.images):
        split = data.train if place < 6 else data.test
        same = (split.images == image).flatten(1).all(1)
        assert same.any()
        assert int(split.labels[same.nonzero()[0, 0]]) == int(found.labels[place])
