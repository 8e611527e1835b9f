"""Rendered clips on disk, by `widthwise render`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from rendered import SMALL, still
from widthwise.cli import main
from widthwise.data.clip_layouts import open_clips
from widthwise.data.clips import Clip
from widthwise.data.rendering import writing
from widthwise.data.rendering.clips import render_clip
from widthwise.data.rendering.settings import RenderSettings
from widthwise.data.rendering.studio import Studio
from widthwise.data.rendering.writing import FACTS, Part, stills_of

FAST = ["--width", "64", "--height", "48", "--smallest", "8", "--largest", "20", "--length", "3"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of eight photographs."""
    place = tmp_path / "photos"
    place.mkdir()
    for number in range(8):
        pixels = still(number).pixels.permute(1, 2, 0).numpy()
        Image.fromarray(pixels).save(place / f"{number}.png")
    return place


def render(photos: Path, out: Path, *options: str) -> int:
    """Run the command."""
    return main(["render", str(photos), str(out), *FAST, *options])


@pytest.mark.parametrize("layout", ["lasot", "otb"])
def test_what_is_written_is_what_is_rendered(
    layout: str, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Read again, clips have the boxes of the studio, and its frames as far as JPEG keeps them."""
    out = tmp_path / "out"
    assert render(photos, out, "--clips", "2", "--seed", "5", "--layout", layout) == 0
    assert "2 clips of 3 frames" in capsys.readouterr().out
    studio = Studio(stills_of(photos, Part.TRAIN), SMALL)
    clips = open_clips(out)
    assert [clip.name for clip in clips] == ["rendered-001", "rendered-002"]
    for number, clip in enumerate(clips):
        expected = render_clip(studio, 5, number, length=3)
        torch.testing.assert_close(clip.boxes, expected.boxes, atol=1e-6, rtol=0)
        for frame, other in zip(clip.frames(), expected.frames(), strict=True):
            assert (frame.float() - other.float()).abs().mean() < 4


def test_options_are_those_of_the_settings(photos: Path, tmp_path: Path) -> None:
    """Usual values are those of recipes; others arrive where they belong, and are written down."""
    assert main(["render", str(photos), str(tmp_path / "a"), "--clips", "1", "--length", "1"]) == 0
    facts = json.loads((tmp_path / "a" / FACTS).read_text())
    assert facts["render"] == vars(RenderSettings())
    options = ["--distractors", "0", "--occlusions", "1", "--no-decoys", "--plain"]
    assert render(photos, tmp_path / "b", "--clips", "1", "--seed", "3", *options) == 0
    facts = json.loads((tmp_path / "b" / FACTS).read_text())
    assert facts["seed"] == 3 and facts["photographs"] == 6
    assert facts["render"] == vars(SMALL) | {
        "distractors": 0.0,
        "occlusions": 1.0,
        "decoys": False,
        "plain": True,
    }


def test_more_clips_begin_with_the_same_ones(photos: Path, tmp_path: Path) -> None:
    """To the byte; another seed gives others."""
    for name, clips, seed in (("a", "1", "0"), ("b", "2", "0"), ("c", "1", "1")):
        assert render(photos, tmp_path / name, "--clips", clips, "--seed", seed) == 0
    frames = {
        name: [path.read_bytes() for path in sorted((tmp_path / name).glob("*-001/img/*"))]
        for name in "abc"
    }
    assert len(frames["a"]) == 3
    assert frames["a"] == frames["b"] != frames["c"]


def test_photographs_to_test_on_are_kept_apart(photos: Path) -> None:
    """No photograph is in both parts, and both together are all."""
    parts = {
        part: {still.pixels.numpy().tobytes() for still in stills_of(photos, part)} for part in Part
    }
    assert len(parts[Part.TRAIN]) == 6 and len(parts[Part.TEST]) == 2
    assert parts[Part.TRAIN] & parts[Part.TEST] == set()
    assert parts[Part.TRAIN] | parts[Part.TEST] == parts[Part.ALL]


def test_regions_are_cut_out_along(photos: Path, tmp_path: Path) -> None:
    """A folder of regions gives every photograph its things; one of another size is named."""
    regions = tmp_path / "regions"
    regions.mkdir()
    for number in range(8):
        Image.fromarray(still(number).regions.to(torch.uint8).numpy()).save(  # type: ignore[union-attr]
            regions / f"{number}.png"
        )
    assert render(photos, tmp_path / "out", "--clips", "1", "--regions", str(regions)) == 0
    assert all(still.regions is not None for still in stills_of(photos, Part.ALL, regions=regions))
    Image.new("L", (5, 5)).save(regions / "1.png")
    assert render(photos, tmp_path / "new", "--clips", "1", "--regions", str(regions)) == 2
    assert not (tmp_path / "new").exists()


def test_clips_do_not_go_among_others(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder with files is left as it is."""
    before = sorted(photos.iterdir())
    assert render(photos, photos, "--clips", "1") == 2
    assert "is not empty" in capsys.readouterr().err
    assert sorted(photos.iterdir()) == before
    assert render(photos, photos / "0.png", "--clips", "1") == 2
    assert "is a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--clips", "0"], "`clips` must be at least 1: got 0"),
        (["--length", "0"], "`length` must be at least 1: got 0"),
        (["--seed", "-1"], "`seed` must be at least 0: got -1"),
        (["--largest", "4"], "`largest` must be at least `smallest`"),
        (["--split", "test"], "from 1 photographs"),
    ],
)
def test_impossible_wishes_are_refused(
    options: list[str], said: str, photos: Path, tmp_path: Path, capsys: Any
) -> None:
    """Before anything is rendered."""
    for number in range(4, 8):
        (photos / f"{number}.png").unlink()
    assert render(photos, tmp_path / "out", *options) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_without_photographs_is_said(tmp_path: Path, capsys: Any) -> None:
    """By the name that the command has for it."""
    assert render(tmp_path / "absent", tmp_path / "out") == 2
    assert "or set PHOTOS" in capsys.readouterr().err


@pytest.mark.parametrize("failure", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_stopped_half_way_clips_are_whole(
    failure: Any, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Clips before are there and can be opened; of the one being written nothing is left.

    Nor is there the file that is written after the last.
    """
    write, out = writing.write_clip, tmp_path / "out"

    def failing(folder: Path, frames: Any, *rest: Any, **options: Any) -> None:
        def broken() -> Any:
            yield next(frames)
            # What is not whole is not seen: a power cut leaves no time to tidy up.
            assert [clip.name for clip in open_clips(out)] == ["rendered-001"]
            raise failure

        second = folder.name.endswith("002")
        write(folder, broken() if second else frames, *rest, **options)

    monkeypatch.setattr(writing, "write_clip", failing)
    stopped = render(photos, out, "--clips", "3")
    assert stopped == (130 if failure is KeyboardInterrupt else 2)
    if stopped == 2:
        assert "No space left" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["rendered-001"]
    clips: tuple[Clip, ...] = open_clips(out)
    assert len(clips[0]) == 3
