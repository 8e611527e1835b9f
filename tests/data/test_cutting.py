"""Large photographs become parts that cover all of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from widthwise.cli import main
from widthwise.data.cutting import cut_images
from widthwise.data.pairs import pairs_in
from widthwise.errors import DataError


def numbered(path: Path, height: int, width: int) -> np.ndarray:
    """Write an image in which every pixel says where it is."""
    rows, columns = np.mgrid[:height, :width]
    values = np.stack([rows, columns, rows ^ columns], axis=2).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return values


def test_parts_cover_the_image(tmp_path: Path) -> None:
    """One every step, and the last ones at the border; each pixel is where it was."""
    values = numbered(tmp_path / "HR" / "b.png", 70, 100)
    numbered(tmp_path / "HR" / "a.png", 40, 40)
    main(["crop", str(tmp_path / "HR"), str(tmp_path / "GT_sub"), "--side", "40", "--step", "25"])
    names = sorted(path.name for path in (tmp_path / "GT_sub").iterdir())
    assert names[0] == "0_a_s001.png"
    assert len(names) == 1 + 3 * 4
    seen = np.zeros((70, 100), bool)
    for name in names[1:]:
        with Image.open(tmp_path / "GT_sub" / name) as image:
            part = np.asarray(image)
        top, left = int(part[0, 0, 0]), int(part[0, 0, 1])
        assert np.array_equal(part, values[top : top + 40, left : left + 40])
        seen[top : top + 40, left : left + 40] = True
    assert seen.all()
    pairs = pairs_in(tmp_path / "GT_sub", setting="it", colour=True, scale=4)
    assert len(pairs) == len(names) and pairs[0].given.shape == (3, 10, 10)


def test_images_that_cannot_be_cut_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is too small, a broken one, and a folder with parts in it."""
    numbered(tmp_path / "small" / "a.png", 30, 50)
    with pytest.raises(DataError, match=r"a\.png` of 30x50 pixels is smaller than parts of 40x40"):
        list(cut_images(tmp_path / "small", tmp_path / "parts", side=40))
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png` cannot be read"):
        list(cut_images(tmp_path / "broken", tmp_path / "others"))
    with pytest.raises(DataError, match="is not empty"):
        list(cut_images(tmp_path / "small", tmp_path / "broken"))
    with pytest.raises(DataError, match="one every 0: both must be above 0"):
        list(cut_images(tmp_path / "small", tmp_path / "new", step=0))
    assert main(["crop", str(tmp_path / "small"), str(tmp_path / "new")]) == 2
    assert "smaller than parts of 480x480" in capsys.readouterr().err
