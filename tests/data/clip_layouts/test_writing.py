"""Clips that are written come back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from widthwise.data.clip_layouts import Layout, open_clips, write_clip
from widthwise.errors import ConfigError, DataError

NAN = float("nan")


def noise(count: int) -> list[Tensor]:
    """Frames of noise."""
    drawing = torch.Generator().manual_seed(0)
    return list(torch.randint(0, 256, (count, 3, 24, 32), generator=drawing, dtype=torch.uint8))


def boxes(count: int) -> Tensor:
    """Boxes with fractions; the second is not known."""
    found = torch.rand(count, 4, generator=torch.Generator().manual_seed(1)).double() * 9 + 1
    found[0], found[1] = torch.tensor([-2.5, 3, 9, 8]), NAN
    return found


@pytest.mark.parametrize("layout", [Layout.LASOT, Layout.OTB])
def test_written_and_read_back(layout: Layout, tmp_path: Path) -> None:
    """Name, frames, boxes to a millionth of a pixel, and the flags where the layout has them."""
    absent = torch.tensor([False, True, False, True, False])
    write_clip(tmp_path / "made", noise(5), boxes(5), absent, layout=layout, suffix=".png")
    (by_name,), (clip,) = open_clips(tmp_path, layout), open_clips(tmp_path)
    assert clip.name == by_name.name == "made" and clip.source == by_name.source
    assert all(torch.equal(a, b) for a, b in zip(clip.frames(), noise(5), strict=True))
    torch.testing.assert_close(clip.boxes, boxes(5), atol=1e-6, rtol=0, equal_nan=True)
    assert clip.absent.tolist() == (absent if layout is Layout.LASOT else absent & False).tolist()


def test_whole_numbers_look_like_those_of_the_sets(tmp_path: Path) -> None:
    """Counted from 1, and without a decimal point."""
    write_clip(tmp_path / "a", noise(1), torch.tensor([[0, 9, 10, 20]]), layout=Layout.OTB)
    assert (tmp_path / "a" / "groundtruth_rect.txt").read_text() == "1,10,10,20\n"
    assert (tmp_path / "a" / "img" / "0001.jpg").is_file()


def test_jpeg_loses_little_where_the_quality_is_high(tmp_path: Path) -> None:
    """A smooth frame comes back nearly; the quality that is asked for reaches the file."""
    ramp = torch.arange(32).repeat(3, 24, 1).to(torch.uint8) * 8
    for quality in (95, 5):
        write_clip(tmp_path / f"q{quality}", [ramp], boxes(2)[:1], quality=quality)
    good, bad = (open_clips(tmp_path / f"q{q}")[0].images[0].int() for q in (95, 5))
    assert (good - ramp).abs().max() <= 3 < (bad - ramp).abs().max()


def test_left_over_frames_are_not_mixed_in(tmp_path: Path) -> None:
    """A folder with files in it is refused, an empty one is not."""
    (tmp_path / "a").mkdir()
    write_clip(tmp_path / "a", noise(3), boxes(3))
    with pytest.raises(DataError, match="is not empty"):
        write_clip(tmp_path / "a", noise(2), boxes(2))
    assert len(open_clips(tmp_path)[0]) == 3


@pytest.mark.parametrize(("frames", "flags"), [(2, 3), (4, 3), (3, 2)])
def test_one_box_and_flag_per_frame(frames: int, flags: int, tmp_path: Path) -> None:
    """What was begun is not taken for a clip."""
    with pytest.raises(DataError, match=f"has {frames} frames, 3 boxes and {flags} flags"):
        write_clip(tmp_path / "a", noise(frames), boxes(3), torch.zeros(flags).bool())
    with pytest.raises(DataError, match="have no boxes"):
        open_clips(tmp_path)


def test_other_layouts_are_not_written(tmp_path: Path) -> None:
    """Nor other files than JPEG and PNG."""
    with pytest.raises(ConfigError, match="layout `vot`"):
        write_clip(tmp_path, noise(1), boxes(2)[:1], layout=Layout.VOT)
    with pytest.raises(ConfigError, match=r"as `\.gif`"):
        write_clip(tmp_path, noise(1), boxes(2)[:1], suffix=".gif")
