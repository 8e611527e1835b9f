"""Images in class folders, ``train/CLASS/*`` and ``val/CLASS/*``, decoded on demand.

This is how ImageNet is usually kept: Deng et al., "ImageNet: A Large-Scale Hierarchical Image
Database" (CVPR 2009).
"""

from __future__ import annotations

from pathlib import Path

from widthwise.data.arrays import ImageClasses
from widthwise.data.decoding import IMAGENET_MEAN, IMAGENET_STD, SIZE, FileItems, OnDemandSplit
from widthwise.data.source import Source, missing
from widthwise.errors import DataError

TEST_FOLDERS = ("val", "test")
"""Where the test split may be, the first one first."""


def load_imagefolder(source: Source) -> ImageClasses:
    """Find the images of a folder with ``train`` and ``val``, or else ``test``.

    Every image must be RGB. Means and deviations are those of ImageNet.

    Args:
        source: The folder that holds both.

    Returns:
        Splits whose images are cut to `image_size`, 224 if not given.

    Raises:
        DataError: If a folder is missing or empty, or the class folders differ.
    """
    return _load("imagefolder", source, [source.folder], mode=None)


def load_imagenet(source: Source) -> ImageClasses:
    """Find the images of ImageNet: class folders, as of `load_imagefolder`.

    The published set has some grey and some CMYK images, which are converted to RGB.

    Args:
        source: Its folder holds, or is, ``imagenet`` or ``ILSVRC2012``.

    Returns:
        Splits whose images are cut to `image_size`, 224 if not given.

    Raises:
        DataError: If a folder is missing or empty, or the class folders differ.
    """
    places = [source.folder / "imagenet", source.folder / "ILSVRC2012", source.folder]
    return _load("imagenet", source, places, mode="RGB")


def class_files(folder: Path) -> dict[str, tuple[Path, ...]]:
    """List the images in class folders.

    Args:
        folder: Has a folder per class.

    Returns:
        Name of every class, sorted -> its images, sorted, at any depth.

    Raises:
        DataError: If there is no class, or a class without images.
    """
    from torchvision.datasets import ImageFolder

    try:
        found = ImageFolder(str(folder), allow_empty=True)
    except FileNotFoundError as error:
        raise DataError(
            f"There are no class folders in `{folder}`.\n"
            "Hint: put the images of every class into a folder of its own, named after the class."
        ) from error
    files: dict[str, list[Path]] = {name: [] for name in found.classes}
    for path, label in found.samples:
        files[found.classes[label]].append(Path(path))
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise DataError(
            f"The class folder `{folder / empty[0]}` has no images "
            f"({len(empty)} of {len(files)} class folders are empty).\n"
            "Hint: put images there, or remove the folder from all splits."
        )
    return {name: tuple(paths) for name, paths in files.items()}


def labelled(files: dict[str, tuple[Path, ...]], *, mode: str | None) -> FileItems:
    """Number the classes in their order.

    Args:
        files: Name of every class -> its images.
        mode: As of `FileItems`.

    Returns:
        All the images.
    """
    numbered = enumerate(files.values())
    pairs = tuple((path, label) for label, paths in numbered for path in paths)
    return FileItems(files=pairs, mode=mode)


def _load(name: str, source: Source, places: list[Path], *, mode: str | None) -> ImageClasses:
    folder = next((place for place in places if (place / "train").is_dir()), None)
    tests = [place for place in TEST_FOLDERS if folder and (folder / place).is_dir()]
    if folder is None or not tests:
        sought = ["train"] if folder is None else list(TEST_FOLDERS)
        raise missing(
            name,
            [f"{item}/CLASS/*" for item in sought],
            folder or places[0],
            get="it has to be put there by hand: a folder `train` and a folder `val`, both with "
            "a folder of images per class.",
        )
    train, test = class_files(folder / "train"), class_files(folder / tests[0])
    _check_same(folder, set(train), set(test), tests[0])
    splits = [
        OnDemandSplit(
            items=labelled(files, mode=mode),
            classes=len(train),
            mode="RGB",
            size=source.image_size or SIZE,
            whole=source.whole,
        )
        for files in (train, test)
    ]
    return ImageClasses(
        train=splits[0],
        test=splits[1],
        classes=tuple(train),
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
    )


def _check_same(folder: Path, train: set[str], test: set[str], test_name: str) -> None:
    for here, there, names in (
        ("train", test_name, train - test),
        (test_name, "train", test - train),
    ):
        if names:
            listed = ", ".join(f"`{name}`" for name in sorted(names)[:5])
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            raise DataError(
                f"The class folders in `{folder}` differ: {listed}{more} in `{here}`, but not in "
                f"`{there}`.\n"
                "Why: classes are numbered in the order of their folders' names, so both splits "
                "need the same ones.\n"
                "Hint: add what is missing, or remove what is too much."
            )
