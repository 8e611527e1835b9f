"""Videos that are written can be read again."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from widthwise.data.video import open_video
from widthwise.data.video_writing import GIF_SIDE, Film, Picture, write_film

needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs av")
KINDS = [pytest.param(Film.MP4, marks=needs_av), Film.GIF]
GREYS = (10, 90, 170, 250)


def pictures(height: int, width: int) -> Iterator[Picture]:
    """A picture of every grey."""
    for grey in GREYS:
        yield np.full((height, width, 3), grey, np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rate", [None, 12.5])
def test_what_is_written_is_read(kind: Film, rate: float | None, tmp_path: Path) -> None:
    """As many frames, in order, as fast as was asked for, or 25 a second."""
    path = tmp_path / f"film{kind}"
    with path.open("wb") as file:
        write_film(file, pictures(32, 48), kind, rate=rate)
    video = open_video(path)
    assert video.length == 4 and video.frames_per_second == pytest.approx(rate or 25, rel=1e-3)
    frames = list(video)
    assert [tuple(frame.shape) for frame in frames] == [(3, 32, 48)] * 4
    found = [frame.float().mean().item() for frame in frames]
    assert found == pytest.approx(GREYS, abs=4)


@needs_av
def test_odd_sides_grow_by_one(tmp_path: Path) -> None:
    """The format of colours that every player knows has none; nothing is cut off."""
    with (tmp_path / "film.mp4").open("wb") as file:
        write_film(file, pictures(33, 47), Film.MP4)
    assert next(iter(open_video(tmp_path / "film.mp4"))).shape == (3, 34, 48)


def test_large_animations_are_made_smaller(tmp_path: Path) -> None:
    """To the longer side that is documented, in the same proportions."""
    with (tmp_path / "film.gif").open("wb") as file:
        write_film(file, pictures(300, 2 * GIF_SIDE), Film.GIF)
    assert next(iter(open_video(tmp_path / "film.gif"))).shape == (3, 150, GIF_SIDE)


@needs_av
def test_pictures_are_taken_one_by_one(tmp_path: Path) -> None:
    """A long video does not have to fit into memory: what fails late has written much by then."""
    taken = []

    def failing() -> Iterator[Picture]:
        for number, picture in enumerate([*pictures(64, 64)] * 40):
            taken.append(number)
            if number == 150:
                raise RuntimeError("stop")
            yield np.random.default_rng(number).integers(0, 256, picture.shape, np.uint8)

    path = tmp_path / "film.mp4"
    with path.open("wb") as file, pytest.raises(RuntimeError, match="stop"):
        write_film(file, failing(), Film.MP4)
    assert len(taken) == 151 and path.stat().st_size > 50_000


@needs_av
def test_without_h264_there_is_another_codec(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some builds of FFmpeg leave H.264 out; the file is read all the same."""
    import av

    monkeypatch.setattr(av.codec, "codecs_available", {"mpeg4"})
    with (tmp_path / "film.mp4").open("wb") as file:
        write_film(file, pictures(32, 48), Film.MP4)
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert film.streams.video[0].codec_context.name == "mpeg4"
    assert len(list(open_video(tmp_path / "film.mp4"))) == len(GREYS)
