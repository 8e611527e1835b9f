"""Photographs are loaded whole, split by photograph, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from widthwise.data.photographs import TEST, TRAIN, bundled_photographs, photographs_in
from widthwise.errors import DataError

WriteImage = Callable[..., Path]


def test_no_photograph_is_in_both_splits() -> None:
    """What is tested on was never trained on, by name and by content."""
    assert not set(TRAIN) & set(TEST)
    found = bundled_photographs(colour=False)
    assert [photo.name for photo in found.train] == list(TRAIN)
    assert [photo.name for photo in found.test] == list(TEST)
    shapes = {(p.pixels.shape, int(p.pixels.long().sum())) for p in (*found.train, *found.test)}
    assert len(shapes) == len(TRAIN) + len(TEST)


def test_bundled_photographs_need_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    """They load although nothing can be fetched."""
    from skimage.data import _fetchers

    monkeypatch.setattr(_fetchers, "_image_fetcher", None)
    assert len(bundled_photographs(colour=False).train) == 11


@pytest.mark.parametrize(("colour", "channels"), [(False, 1), (True, 3)])
def test_pixels_are_bytes_of_the_wanted_channels(colour: bool, channels: int) -> None:
    """uint8, one channel or three, over the whole range."""
    for photo in (
        *bundled_photographs(colour=colour).train,
        *bundled_photographs(colour=colour).test,
    ):
        assert photo.pixels.dtype is torch.uint8
        assert photo.pixels.shape[0] == channels
        assert photo.pixels.max() > 128


def test_a_folder_has_two_splits(tmp_path: Path, write_image: WriteImage) -> None:
    """Files below `train` and `test`, sorted by path; RGB becomes grey where that is asked for."""
    write_image(tmp_path / "train" / "b.png")
    write_image(tmp_path / "train" / "a" / "c.png", mode="L")
    write_image(tmp_path / "test" / "d.png", size=(30, 40))
    found = photographs_in(tmp_path, colour=False)
    assert [Path(photo.name).name for photo in found.train] == ["c.png", "b.png"]
    assert [tuple(photo.pixels.shape) for photo in found.test] == [(1, 30, 40)]


def test_colours_stay_where_they_are(tmp_path: Path, write_image: WriteImage) -> None:
    """Channels come first, red first, rows before columns."""
    from PIL import Image

    for split in ("train", "test"):
        path = write_image(tmp_path / split / "a.png", size=(20, 30))
    pixels = photographs_in(tmp_path, colour=True).test[0].pixels
    with Image.open(path) as image:
        assert tuple(pixels[:, 7, 3].tolist()) == image.getpixel((3, 7))


def test_wrong_files_are_all_named(tmp_path: Path, write_image: WriteImage) -> None:
    """Broken files, and grey ones where colour is asked for, of both splits, in one error."""
    write_image(tmp_path / "train" / "good.png")
    write_image(tmp_path / "train" / "grey.png", mode="L")
    broken = write_image(tmp_path / "test" / "cut.png")
    broken.write_bytes(broken.read_bytes()[:200])
    with pytest.raises(
        DataError, match=r"(?s)grey\.png`: expected RGB, got.*L.*cut\.png"
    ) as caught:
        photographs_in(tmp_path, colour=True)
    assert "good.png" not in str(caught.value)


@pytest.mark.parametrize("missing", ["train", "test"])
def test_a_folder_without_a_split_is_refused(
    missing: str, tmp_path: Path, write_image: WriteImage
) -> None:
    """The error names the folder that is expected, and what is wrong with it."""
    for split in {"train", "test"} - {missing}:
        write_image(tmp_path / split / "a.png")
    with pytest.raises(DataError, match=rf"{missing}` is not a folder(?s:.*)`task\.folder`"):
        photographs_in(tmp_path, colour=False)
    (tmp_path / missing).mkdir()
    with pytest.raises(DataError, match=rf"{missing}` has no photographs"):
        photographs_in(tmp_path, colour=False)
