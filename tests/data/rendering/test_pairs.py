"""Pairs for training: rendered once, kept, and the same for the same photographs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rendered import SMALL, still
from widthwise.data.clips import Clip
from widthwise.data.frame_pairs import MARGIN, STORED_SIDE, ClipPairs, pair_of
from widthwise.data.rendering import pairs as module
from widthwise.data.rendering.clips import render_clip
from widthwise.data.rendering.pairs import draw_pair, rendered_pairs
from widthwise.data.rendering.stills import bundled_stills, stills_in
from widthwise.data.rendering.studio import Still, Studio
from widthwise.errors import DataError
from widthwise.models.siamese import SEARCH_SIDE, TEMPLATE_SIDE


def test_both_crops_have_the_target_in_the_middle_at_one_scale() -> None:
    """Of the same frame, the middle of the search crop is the template."""
    frame = still(0).pixels
    box = torch.tensor([40.0, 30, 20, 16]).double()
    template, search = pair_of((frame, frame), (box, box))
    assert search.shape == (3, STORED_SIDE, STORED_SIDE)
    inner = slice((STORED_SIDE - TEMPLATE_SIDE) // 2, (STORED_SIDE + TEMPLATE_SIDE) // 2)
    difference = template.int() - search[:, inner, inner].int()
    assert difference.abs().max() <= 1
    assert 2 * MARGIN + SEARCH_SIDE == STORED_SIDE


def test_pairs_are_rendered_once(
    stills: tuple[Still, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call reads them; other photographs, settings, counts or seeds are others."""
    first = rendered_pairs(stills, SMALL, gap=20, count=3, seed=0)
    drawn = []

    def counted(studio: Studio, seed: int, number: int, *, gap: int) -> object:
        drawn.append(number)
        return draw_pair(studio, seed, number, gap=gap)

    monkeypatch.setattr(module, "draw_pair", counted)
    again = rendered_pairs(stills, SMALL, gap=20, count=3, seed=0)
    assert not drawn
    assert torch.equal(first.searches, again.searches)
    other = rendered_pairs(stills, SMALL, gap=20, count=3, seed=1)
    assert drawn == [0, 1, 2]
    assert not torch.equal(first.searches, other.searches)
    rendered_pairs(stills[:3], SMALL, gap=20, count=3, seed=0)
    rendered_pairs(stills, SMALL, gap=20, count=2, seed=0)
    assert len(drawn) == 8
    plain = tuple(Still(pixels=each.pixels) for each in stills)
    rendered_pairs(plain, SMALL, gap=20, count=2, seed=0)
    assert len(drawn) == 10


def test_the_second_frame_is_not_too_late(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between 1 and so many frames after the first, both ends among them."""
    seen: set[int] = set()
    scene = studio.scene

    def noted(*numbers: int, length: int, steps: tuple[int, int]) -> object:
        seen.add(steps[1] - steps[0])
        return scene(*numbers, length=length, steps=steps)

    monkeypatch.setattr(studio, "scene", noted)
    for number in range(20):
        draw_pair(studio, 0, number, gap=3)
    assert seen == {1, 2, 3}


def test_a_damaged_file_is_made_anew(stills: tuple[Still, ...], tmp_path: Path) -> None:
    """Half a file is not read, and pairs are the same as before."""
    first = rendered_pairs(stills, SMALL, gap=20, count=2, seed=0)
    (path,) = (tmp_path / "cache" / "rendering").iterdir()
    path.write_bytes(path.read_bytes()[:5_000])
    again = rendered_pairs(stills, SMALL, gap=20, count=2, seed=0)
    assert torch.equal(first.templates, again.templates)
    assert path.stat().st_size > 5_000


def test_a_place_that_cannot_be_written_is_said(
    stills: tuple[Still, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pairs are there all the same."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("WIDTHWISE_CACHE", str(tmp_path / "file"))
    with pytest.warns(UserWarning, match="WIDTHWISE_CACHE"):
        assert len(rendered_pairs(stills, SMALL, gap=20, count=1, seed=0)) == 1


def test_clips_show_their_target_at_first(studio: Studio) -> None:
    """The first box is known and its target seen, and a clip is the same at every call."""
    clips = [render_clip(studio, 0, number, length=3) for number in range(4)]
    assert all(len(clip) == 3 and not clip.absent[0] for clip in clips)
    again = render_clip(studio, 0, 2, length=3)
    assert torch.equal(torch.stack(list(again.frames())), torch.stack(list(clips[2].frames())))
    assert torch.equal(again.boxes, clips[2].boxes)


def test_every_fourth_photograph_is_for_testing(tmp_path: Path) -> None:
    """The parts have nothing in common, and leave nothing out; regions go with their names."""
    photographs, regions = tmp_path / "photographs", tmp_path / "regions"
    photographs.mkdir()
    regions.mkdir()
    for number in range(8):
        values = np.full((30, 40, 3), 10 * number, dtype=np.uint8)
        Image.fromarray(values).save(photographs / f"{number}.png")
    Image.fromarray(np.full((30, 40), 3, dtype=np.uint8)).save(regions / "1.png")
    train = stills_in(photographs, "train", regions=regions)
    test = stills_in(photographs, "test", regions=regions)
    assert [int(each.pixels[0, 0, 0]) // 10 for each in test] == [0, 4]
    assert [int(each.pixels[0, 0, 0]) // 10 for each in train] == [1, 2, 3, 5, 6, 7]
    assert train[0].regions is not None
    assert train[0].regions.unique().tolist() == [3]
    assert train[1].regions is None
    Image.fromarray(np.full((30, 41), 3, dtype=np.uint8)).save(regions / "1.png")
    with pytest.raises(DataError, match=r"1\.png` has the shape \[30, 41\]"):
        stills_in(photographs, "train", regions=regions)
    (regions / "1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"1\.png` cannot be read"):
        stills_in(photographs, "train", regions=regions)


def test_folders_of_both_parts_are_taken_as_they_are(tmp_path: Path) -> None:
    """A folder with `train` and `test` is split by them."""
    for part, count in (("train", 3), ("test", 2)):
        (tmp_path / part).mkdir()
        for number in range(count):
            Image.new("RGB", (40, 30)).save(tmp_path / part / f"{number}.png")
    assert len(stills_in(tmp_path, "train")) == 3
    assert len(stills_in(tmp_path, "test")) == 2


def test_bundled_photographs_are_split() -> None:
    """Those of scikit-image: six in colour to train on, two others to test on."""
    assert (len(bundled_stills("train")), len(bundled_stills("test"))) == (6, 2)


def clip_of(boxes: list[list[float]], absent: list[int], name: str = "a") -> Clip:
    """A clip whose every frame has its own grey."""
    frames = [
        torch.full((3, 48, 64), 20 * number, dtype=torch.uint8) for number in range(len(boxes))
    ]
    flags = torch.zeros(len(boxes), dtype=torch.bool)
    flags[absent] = True
    return Clip(name=name, images=frames, boxes=torch.tensor(boxes).double(), absent=flags)


def test_pairs_of_a_clip_are_near_and_seen() -> None:
    """The second frame is later, within the gap where one is, and the target is seen in both."""
    box, unknown = [20.0, 15, 12, 12], [float("nan")] * 4
    clip = clip_of([box, box, unknown, box, box, box, box, box, unknown, box], absent=[4])
    pairs = ClipPairs([clip], count=60, gap=2)
    templates, searches = pairs.batch(range(60), seed=3)
    found = {
        (int(template.float().mean() / 20 + 0.5), int(search.float().mean() / 20 + 0.5))
        for template, search in zip(templates, searches, strict=True)
    }
    assert found == {(0, 1), (1, 3), (3, 5), (5, 6), (5, 7), (6, 7), (7, 9)}
    again, _ = pairs.batch(range(60), seed=3)
    assert torch.equal(templates, again)


def test_clips_without_pairs_are_refused() -> None:
    """Test sets that keep their boxes to themselves cannot be trained on."""
    box, unknown = [20.0, 15, 12, 12], [float("nan")] * 4
    with pytest.raises(DataError, match="None of 1 clips has two frames"):
        ClipPairs([clip_of([box, unknown, unknown], absent=[])], count=1, gap=2)
