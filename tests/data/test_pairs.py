"""Small images are read where a set has them, and made of the large ones where it has not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from widthwise.data.bicubic import larger, smaller
from widthwise.data.crops import Crops, Whole
from widthwise.data.pairs import Pair, StoredPair, bundled_pairs, pairs_in
from widthwise.errors import DataError
from widthwise.tasks.restoration.quality import Comparison

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "bicubic_psnr.json").read_text())
SETS = Path(os.environ.get("WIDTHWISE_DATA", "nowhere")) / "super_resolution"


def write(path: Path, height: int, width: int, value: int = 100) -> None:
    """A colour image of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), value, dtype=np.uint8)).save(path)


def load(place: Path, scale: int) -> tuple[Pair | StoredPair, ...]:
    return pairs_in(place, setting="it", colour=True, scale=scale)


def test_without_a_scale_both_parts_are_the_photograph(tmp_path: Path) -> None:
    """Nothing is copied, and no size is cut."""
    write(tmp_path / "a.png", 7, 9)
    (pair,) = load(tmp_path, 1)
    assert pair.given is pair.clean and pair.clean.shape == (3, 7, 9)


def test_small_images_are_made_where_there_are_none(tmp_path: Path) -> None:
    """Of the largest part of the image that is a whole multiple of the scale."""
    write(tmp_path / "a.png", 26, 33)
    (pair,) = load(tmp_path, 4)
    assert pair.clean.shape == (3, 24, 32) and pair.given.shape == (3, 6, 8)
    assert torch.equal(pair.given, smaller(pair.clean, 4))
    assert all(min(made.given.shape[1:]) >= 50 for made in bundled_pairs(colour=True, scale=4).test)


@pytest.mark.parametrize(
    ("named", "large", "small"),
    [
        ("Set5", "Set5/HR", "Set5/LR_bicubic/X2"),
        ("Set5", "Set5/x2/HR", "Set5/x2/LR"),
        ("Set5/x2", "Set5/x2/HR", "Set5/x2/LR"),
        ("DIV2K", "DIV2K/DIV2K_train_HR", "DIV2K/DIV2K_train_LR_bicubic/X2"),
        (
            "DIV2K/DIV2K_valid_HR",
            "DIV2K/DIV2K_valid_HR",
            "DIV2K/DIV2K_valid_LR_bicubic/X2",
        ),
        ("DIV2K/GT_sub", "DIV2K/GT_sub", "DIV2K/GT_sub_bicLRx2"),
    ],
)
def test_small_images_are_read_in_published_layouts(
    named: str, large: str, small: str, tmp_path: Path
) -> None:
    """Not those of another scale, and by their order; one pixel too many is cut off."""
    write(tmp_path / large / "b.png", 21, 30)
    write(tmp_path / large / "a.png", 40, 20)
    write(tmp_path / small / "bx2.png", 10, 15, value=77)
    write(tmp_path / small / "ax2.png", 20, 10, value=55)
    first, second = load(tmp_path / named, 2)
    assert first.given.shape == (3, 20, 10) and int(first.given[0, 0, 0]) == 55
    assert second.clean.shape == (3, 20, 30) and int(second.given[0, 0, 0]) == 77


def test_images_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """Other sizes name both files; other numbers name both folders."""
    write(tmp_path / "HR" / "a.png", 20, 20)
    write(tmp_path / "LR" / "a.png", 5, 5)
    with pytest.raises(DataError, match=r"(?s)LR/a\.png` of 5x5.*HR/a\.png` of 20x20 made 2"):
        load(tmp_path, 2)
    write(tmp_path / "HR" / "b.png", 20, 20)
    with pytest.raises(DataError, match=r"HR` has 2 images and .*LR` has 1"):
        load(tmp_path, 4)
    write(tmp_path / "tiny" / "a.png", 3, 20)
    with pytest.raises(DataError, match="too small to be made 4 times smaller"):
        load(tmp_path / "tiny", 4)


def test_what_does_not_fit_into_memory_is_read_when_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The crops are the same; a file that is damaged later is named when it is read."""
    for number in range(4):
        write(tmp_path / "HR" / f"{number}.png", 24, 30, value=10 * number)
        write(tmp_path / "LR" / f"{number}.png", 12, 15, value=10 * number + 1)
    kept = load(tmp_path, 2)
    monkeypatch.setattr("widthwise.data.pairs.LARGEST_IN_MEMORY", 4 * 3 * 24 * 30 - 1)
    stored = load(tmp_path, 2)
    assert [type(pair) for pair in (kept[0], stored[0])] == [Pair, StoredPair]
    assert [(pair.name, pair.size) for pair in stored] == [(pair.name, pair.size) for pair in kept]
    expected, found = (
        Crops(pairs, side=8, count=9, scale=2).batch(range(9), seed=3) for pairs in (kept, stored)
    )
    assert all(torch.equal(mine, other) for mine, other in zip(found, expected, strict=True))
    assert torch.equal(found[0][:, 0, 0, 0], found[1][:, 0, 0, 0] + 1)
    made = StoredPair(high=tmp_path / "HR" / "2.png", low=None, size=(24, 30), colour=True, scale=2)
    assert torch.equal(made.read().given, smaller(kept[2].clean, 2))
    (tmp_path / "LR" / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"LR/1\.png"):
        stored[1].read()


def numbered(scale: int) -> Pair:
    """What is given has the numbers of its pixels; each stands in a square of the clean image."""
    given = torch.arange(6 * 7).reshape(1, 6, 7)
    clean = given.repeat_interleave(scale, 1).repeat_interleave(scale, 2)
    return Pair(name="a", given=given, clean=clean)


def test_crops_of_both_parts_show_the_same_place() -> None:
    """Each crop of what is given, enlarged, is the crop of the clean image; all places come up."""
    crops = Crops([numbered(3)], side=6, count=500, scale=3)
    given, clean, _ = crops.batch(range(500), seed=1)
    assert given.shape == (500, 1, 2, 2) and clean.shape == (500, 1, 6, 6)
    assert torch.equal(given.repeat_interleave(3, 2).repeat_interleave(3, 3), clean)
    assert len(given[:, 0, 0, 0].unique()) == 5 * 6


def test_the_middle_of_both_parts_is_the_same_place() -> None:
    """A longest side that is no multiple of the scale is rounded down to one."""
    whole = Whole([numbered(2)], largest_side=9, scale=2)
    (given,), (clean,), _ = whole.batch([0], seed=None)
    assert given.shape == (1, 4, 4) and clean.shape == (1, 8, 8)
    assert torch.equal(given.repeat_interleave(2, 1).repeat_interleave(2, 2), clean)


def test_scaling_is_bicubic_with_smoothing() -> None:
    """What Pillow computes in floats, rounded; where an image grows and where it shrinks."""
    pixels = bundled_pairs(colour=True, scale=1).test[0].clean[:1]
    image = Image.fromarray(pixels[0].float().numpy())
    for mine, side in ((smaller(pixels, 4), 128), (larger(pixels, 2), 1024)):
        theirs = np.asarray(image.resize((side, side), Image.Resampling.BICUBIC))
        assert np.abs(mine[0].numpy() - theirs.clip(0, 255)).max() <= 0.501


@pytest.mark.skipif(not SETS.is_dir(), reason="WIDTHWISE_DATA names no folder with Set5 and others")
@pytest.mark.parametrize("named", GOLDEN["psnr_y_db"])
def test_bicubic_scaling_has_the_published_psnr(named: str) -> None:
    """Luma PSNR without a border of `scale` pixels, per image, then the mean: to 0.01 dB."""
    name, _, scale = named.partition("/x")
    compared = Comparison(shave=int(scale), luma=True)
    pairs = load(SETS / name / f"x{scale}", int(scale))
    values = [compared.psnr(larger(p.given, int(scale)).float(), p.clean) for p in pairs]
    assert np.mean(values) == pytest.approx(GOLDEN["psnr_y_db"][named], abs=0.01)
    # Small images made here are those that MATLAB made, but for rounding between its two passes.
    errors = [(smaller(p.clean, int(scale)).int() - p.given.int()).abs() for p in pairs]
    assert np.mean([(error > 1).float().mean().item() for error in errors]) < 0.012
