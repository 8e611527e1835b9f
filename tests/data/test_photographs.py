"""Photographs are loaded whole, split by photograph, and refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from widthwise.data.photographs import (
    TEST,
    TRAIN,
    bundled_photographs,
    files_in,
    read_photographs,
)
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


def test_files_are_found_by_suffix_below_a_folder(tmp_path: Path, write_image: WriteImage) -> None:
    """Sorted by path; RGB becomes grey where that is asked for."""
    write_image(tmp_path / "b.png", size=(30, 40))
    write_image(tmp_path / "a" / "c.png", mode="L")
    (tmp_path / "notes.txt").write_text("no image")
    files = files_in(tmp_path, setting="it")
    assert [path.name for path in files] == ["c.png", "b.png"]
    found = read_photographs(files, colour=False)
    assert [photo.name for photo in found] == [str(path) for path in files]
    assert found[1].pixels.shape == (1, 30, 40)


def test_colours_stay_where_they_are(tmp_path: Path, write_image: WriteImage) -> None:
    """Channels come first, red first, rows before columns."""
    from PIL import Image

    path = write_image(tmp_path / "a.png", size=(20, 30))
    pixels = read_photographs([path], colour=True)[0].pixels
    with Image.open(path) as image:
        assert tuple(pixels[:, 7, 3].tolist()) == image.getpixel((3, 7))


def test_a_grey_photograph_is_the_same_in_every_colour(
    tmp_path: Path, write_image: WriteImage
) -> None:
    """Published sets have a few grey ones among those in colour."""
    files = [write_image(tmp_path / "grey.png", mode="L")]
    (grey,), (coloured,) = (read_photographs(files, colour=colour) for colour in (False, True))
    assert coloured.pixels.shape[0] == 3
    assert torch.equal(coloured.pixels, grey.pixels.expand(3, -1, -1))


def test_wrong_files_are_all_named(tmp_path: Path, write_image: WriteImage) -> None:
    """Broken files, and those of other modes, in one error."""
    write_image(tmp_path / "good.png")
    write_image(tmp_path / "see_through.png", mode="RGBA")
    broken = write_image(tmp_path / "cut.png")
    broken.write_bytes(broken.read_bytes()[:200])
    files = files_in(tmp_path, setting="it")
    with pytest.raises(
        DataError, match=r"(?s)cut\.png.*see_through\.png`: expected grey or RGB, got.*RGBA"
    ) as caught:
        read_photographs(files, colour=True)
    assert "good.png" not in str(caught.value)


def test_a_folder_without_photographs_is_refused(tmp_path: Path) -> None:
    """The error names the folder that is expected, what is wrong with it, and the setting."""
    with pytest.raises(DataError, match=r"missing` is not a folder(?s:.*)set `task\.folder`"):
        files_in(tmp_path / "missing", setting="`task.folder`")
    with pytest.raises(DataError, match=rf"{tmp_path.name}` has no photographs"):
        files_in(tmp_path, setting="`task.folder`")
