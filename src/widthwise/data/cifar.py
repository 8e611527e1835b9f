"""CIFAR-10 and CIFAR-100: 60,000 images of 32 by 32 pixels, in memory.

Both published layouts are read: the binary one and the one of Python pickles. Krizhevsky,
"Learning Multiple Layers of Features from Tiny Images" (2009).
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from widthwise.data.arrays import ImageClasses, Split
from widthwise.data.pickles import load_plain_pickle
from widthwise.data.source import Source, damaged, download, missing, read_bytes

Array = np.ndarray[Any, np.dtype[Any]]

SHAPE = (3, 32, 32)
"""Red, green and blue plane, row by row, of one image."""
PIXELS = math.prod(SHAPE)
TRAIN, TEST = 50_000, 10_000
"""Images in the splits as published."""

# The constants of CIFAR-10 for both, as the papers compared with use them.
MEAN = (125.3, 123.0, 113.9)
STD = (63.0, 62.1, 66.7)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One way in which a data set is stored: a folder and its files."""

    folder: str
    train: tuple[str, ...]
    test: str
    names: str
    """File with the names of the classes, which may be missing: classes are then numbered."""
    binary: bool

    @property
    def files(self) -> tuple[str, ...]:
        """All files with images."""
        return (*self.train, self.test)


@dataclass(frozen=True, kw_only=True)
class Cifar:
    """One of the two data sets."""

    name: str
    classes: int
    label_bytes: int
    """Bytes before every image of the binary layout; the last one is the class."""
    labels_key: bytes
    names_key: bytes
    torchvision: str
    """Name of the class in torchvision that downloads it."""
    layouts: tuple[Layout, ...]


CIFAR10 = Cifar(
    name="cifar10",
    classes=10,
    label_bytes=1,
    labels_key=b"labels",
    names_key=b"label_names",
    torchvision="CIFAR10",
    layouts=(
        Layout(
            folder="cifar-10-batches-bin",
            train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
            test="test_batch.bin",
            names="batches.meta.txt",
            binary=True,
        ),
        Layout(
            folder="cifar-10-batches-py",
            train=tuple(f"data_batch_{number}" for number in range(1, 6)),
            test="test_batch",
            names="batches.meta",
            binary=False,
        ),
    ),
)
CIFAR100 = Cifar(
    name="cifar100",
    classes=100,
    label_bytes=2,
    labels_key=b"fine_labels",
    names_key=b"fine_label_names",
    torchvision="CIFAR100",
    layouts=(
        Layout(
            folder="cifar-100-binary",
            train=("train.bin",),
            test="test.bin",
            names="fine_label_names.txt",
            binary=True,
        ),
        Layout(
            folder="cifar-100-python", train=("train",), test="test", names="meta", binary=False
        ),
    ),
)


def load_cifar10(source: Source) -> ImageClasses:
    """Load CIFAR-10.

    Args:
        source: Its folder holds, or is, ``cifar-10-batches-bin`` or ``cifar-10-batches-py``.

    Returns:
        Splits of 50,000 and 10,000 images in 10 classes.

    Raises:
        DataError: If it is not there or damaged.
    """
    return _load(CIFAR10, source)


def load_cifar100(source: Source) -> ImageClasses:
    """Load CIFAR-100 with its 100 fine classes.

    Args:
        source: Its folder holds, or is, ``cifar-100-binary`` or ``cifar-100-python``.

    Returns:
        Splits of 50,000 and 10,000 images in 100 classes.

    Raises:
        DataError: If it is not there or damaged.
    """
    return _load(CIFAR100, source)


def _load(cifar: Cifar, source: Source) -> ImageClasses:
    found = _find(cifar, source.folder)
    if found is None and source.download:
        from torchvision import datasets

        download(
            cifar.name,
            source.folder,
            lambda: getattr(datasets, cifar.torchvision)(source.folder, download=True),
        )
        found = _find(cifar, source.folder)
    if found is None:
        raise missing(
            cifar.name,
            [f"{layout.folder}/{layout.train[0]}" for layout in cifar.layouts],
            source.folder,
            get="put it there, or let it be downloaded with `--task.download true`.",
        )
    folder, layout = found
    per_file = TRAIN // len(layout.train)
    parts = [_read(cifar, layout, folder / name, per_file) for name in layout.train]
    _check_equal(layout, folder, [len(part) for part in parts])
    return ImageClasses(
        train=Split(
            images=torch.cat([part.images for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
        ),
        test=_read(cifar, layout, folder / layout.test, TEST),
        classes=_names(cifar, layout, folder / layout.names),
        mean=MEAN,
        std=STD,
    )


def _find(cifar: Cifar, folder: Path) -> tuple[Path, Layout] | None:
    """Find the most complete layout, the first one if several are."""
    places = {
        (place, layout): sum((place / name).exists() for name in layout.files) / len(layout.files)
        for layout in cifar.layouts
        for place in (folder / layout.folder, folder)
    }
    best = max(places, key=lambda place: places[place])
    return best if places[best] else None


def _read(cifar: Cifar, layout: Layout, path: Path, published: int) -> Split:
    content = read_bytes(path)
    if layout.binary:
        images, labels = _from_records(cifar, path, content, published)
    else:
        images, labels = _from_pickle(cifar, path, content)
    outside = np.flatnonzero((labels < 0) | (labels >= cifar.classes))
    if len(outside):
        first = outside[0]
        raise damaged(
            path,
            f"image {first} has label {labels[first]}, expected 0 to {cifar.classes - 1} "
            f"({len(outside):,} of {len(labels):,} labels are outside)",
        )
    # A copy, because tensors must be writable and the content of a file is not.
    return Split(
        images=torch.from_numpy(images.reshape(-1, *SHAPE).copy()),
        labels=torch.from_numpy(labels.astype(np.int64)),
    )


def _from_records(cifar: Cifar, path: Path, content: bytes, published: int) -> tuple[Array, Array]:
    record = cifar.label_bytes + PIXELS
    if not content or len(content) % record:
        raise damaged(
            path,
            f"expected a multiple of {record:,} bytes, {published * record:,} as published, "
            f"got {len(content):,} bytes",
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
    return records[:, cifar.label_bytes :], records[:, cifar.label_bytes - 1]


def _from_pickle(cifar: Cifar, path: Path, content: bytes) -> tuple[Array, Array]:
    found = _mapping(path, content, (b"data", cifar.labels_key))
    images, labels = np.asarray(found[b"data"]), np.asarray(found[cifar.labels_key])
    if images.dtype != np.uint8 or images.ndim != 2 or images.shape[1] != PIXELS:
        raise damaged(
            path,
            f"expected RGB images as uint8 [n, {PIXELS}], got {images.dtype} {list(images.shape)}",
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not len(labels):
        raise damaged(
            path,
            f"expected one class number for each of {len(images):,} images, "
            f"got {labels.dtype} {list(labels.shape)}",
        )
    return images, labels


def _mapping(path: Path, content: bytes, keys: Iterable[bytes]) -> dict[bytes, Any]:
    try:
        found = load_plain_pickle(content)
    except pickle.UnpicklingError as error:
        size = f"{len(content):,} bytes"
        raise damaged(path, f"its {size} are not a pickle of arrays: {error}") from error
    # Keys are texts in files written by Python 3 and bytes in the published ones.
    items = found.items() if isinstance(found, dict) else ()
    named = {key.encode() if isinstance(key, str) else key: value for key, value in items}
    absent = [key.decode() for key in keys if key not in named]
    if absent:
        raise damaged(path, f"expected a mapping with `{'`, `'.join(absent)}`, which it is not")
    return named


def _names(cifar: Cifar, layout: Layout, path: Path) -> tuple[str, ...]:
    if not path.exists():
        return tuple(str(number) for number in range(cifar.classes))
    content = read_bytes(path)
    raw = (
        content.split()
        if layout.binary
        else _mapping(path, content, [cifar.names_key])[cifar.names_key]
    )
    names = tuple(name.decode("latin-1") if isinstance(name, bytes) else str(name) for name in raw)
    if len(names) != cifar.classes:
        raise damaged(path, f"expected names of {cifar.classes} classes, got {len(names)}")
    return names


def _check_equal(layout: Layout, folder: Path, counts: list[int]) -> None:
    """A file cut between two images has a legal size, but not that of the others."""
    most = max(counts)
    for name, count in zip(layout.train, counts, strict=True):
        if count != most:
            raise damaged(
                folder / name, f"expected {most:,} images as in the other files, got {count:,}"
            )
