"""Tiny-ImageNet: 110,000 images of 64 by 64 pixels in 200 classes, in memory.

It is read as published, with the test images in one folder and their classes in a list, and also
re-sorted into class folders.
"""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from widthwise.data.arrays import ImageClasses, LateSplit, Split
from widthwise.data.decoding import FileItems, decode_all
from widthwise.data.folders import class_files, labelled
from widthwise.data.source import Source, damaged, download, missing, read_bytes

NAME = "tiny_imagenet"
FOLDER = "tiny-imagenet-200"
URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
SHAPE = (3, 64, 64)

MEAN = (0.4802 * 255, 0.4481 * 255, 0.3975 * 255)
STD = (0.2302 * 255, 0.2265 * 255, 0.2262 * 255)


def load_tiny_imagenet(source: Source) -> ImageClasses:
    """Load Tiny-ImageNet; its validation images, the only ones with known classes, test.

    Some images of the published set are grey; they are converted to RGB.

    Args:
        source: Its folder holds, or is, ``tiny-imagenet-200``.

    Returns:
        Splits of 100,000 and 10,000 images in 200 classes, in the order of their WordNet numbers.
        The images are decoded when a batch is first asked for.

    Raises:
        DataError: If it is not there or its lists are damaged; for damaged images later.
    """
    folder = _find(source.folder)
    if folder is None and source.download:
        from torchvision.datasets.utils import download_and_extract_archive

        download(
            NAME,
            source.folder,
            lambda: download_and_extract_archive(URL, str(source.folder), md5=MD5),
        )
        folder = _find(source.folder)
    if folder is None:
        raise missing(
            NAME,
            [f"{FOLDER}/wnids.txt"],
            source.folder,
            get=f"unpack {URL} there, or let it be downloaded with `--task.download true`.",
        )
    classes = sorted(_lines(folder / "wnids.txt"))
    train = labelled(_classes(folder / "train", classes), mode="RGB")
    if (folder / "val" / "val_annotations.txt").exists() and (folder / "val" / "images").is_dir():
        test = _annotated(folder / "val", classes)
    else:
        test = labelled(_classes(folder / "val", classes), mode="RGB")
    return ImageClasses(
        train=_decoded_later(train, classes=len(classes)),
        test=_decoded_later(test, classes=len(classes)),
        classes=_words(folder / "words.txt", classes),
        mean=MEAN,
        std=STD,
    )


def _decoded_later(items: FileItems, *, classes: int) -> LateSplit:
    def load(count: int) -> Split:
        return decode_all(
            replace(items, files=items.files[:count]),
            name=NAME,
            classes=classes,
            shape=SHAPE,
            threads=os.cpu_count() or 1,
        )

    return LateSplit(len(items), load)


def _find(folder: Path) -> Path | None:
    places = (folder / FOLDER, folder)
    return next((place for place in places if (place / "wnids.txt").exists()), None)


def _lines(path: Path) -> list[str]:
    try:
        return read_bytes(path).decode().splitlines()
    except UnicodeDecodeError as error:
        raise damaged(path, f"expected text, got {error.object[error.start]:#04x}") from error


def _classes(folder: Path, classes: list[str]) -> dict[str, tuple[Path, ...]]:
    files = class_files(folder)
    if sorted(files) != classes:
        odd = sorted(set(files) ^ set(classes))
        raise damaged(
            folder,
            f"expected a folder for each of the {len(classes)} classes in wnids.txt, got "
            f"{len(files)}; the first that differs is `{odd[0]}`",
        )
    return files


def _annotated(folder: Path, classes: list[str]) -> FileItems:
    numbers = {name: number for number, name in enumerate(classes)}
    path = folder / "val_annotations.txt"
    files = []
    for number, line in enumerate(_lines(path), start=1):
        parts = line.split("\t")
        if len(parts) < 2:
            raise damaged(path, f"line {number}: expected a file and a class, got {line!r}")
        if parts[1] not in numbers:
            raise damaged(path, f"line {number}: class `{parts[1]}` is not in wnids.txt")
        files.append((folder / "images" / parts[0], numbers[parts[1]]))
    return FileItems(files=tuple(files), mode="RGB")


def _words(path: Path, classes: list[str]) -> tuple[str, ...]:
    """Names that people read, where the list of them is there."""
    lines = _lines(path) if path.exists() else []
    words = dict(line.split("\t", 1) for line in lines if "\t" in line)
    return tuple(words.get(name, name) for name in classes)
