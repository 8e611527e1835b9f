"""Frames of a video come in order, as often as they are asked for."""

from __future__ import annotations

import importlib.util
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from widthwise.data.video import open_video
from widthwise.errors import ConfigError, DataError

WriteImage = Callable[..., Path]
GREYS = (10, 90, 170, 250)
needs_av = pytest.mark.skipif(importlib.util.find_spec("av") is None, reason="needs av")


def plain(grey: int, size: tuple[int, int] = (32, 48)) -> np.ndarray:
    """A frame of one grey, with a white corner at the upper left."""
    frame = np.full((*size, 3), grey, dtype=np.uint8)
    frame[:8, :8] = 255
    return frame


def film(path: Path, *, sound_only: bool = False, **options: object) -> Path:
    """A short video file."""
    import av

    with av.open(str(path), "w") as container:
        if sound_only:
            stream = container.add_stream("pcm_s16le", rate=8000)
            samples = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
            samples.sample_rate = 8000
            container.mux([*stream.encode(samples), *stream.encode(None)])
            return path
        stream = container.add_stream("mpeg4", rate=25, options={"qscale": "1"})
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for grey in GREYS:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(plain(grey), format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("place", [".", "img", "color"])
def test_a_folder_of_frames(place: str, tmp_path: Path, write_image: WriteImage) -> None:
    """There or in the folder that published sets have."""
    for number in (2, 10, 1):
        write_image(tmp_path / "clip" / place / f"{number}.png", seed=number)
    video = open_video(tmp_path / "clip")
    assert (video.name, video.length, video.frames_per_second) == ("clip", 3, None)
    first, second = list(video), list(video)
    assert len(first) == 3 and all(map(torch.equal, first, second))
    last = np.asarray(Image.open(tmp_path / "clip" / place / "10.png"))
    assert np.array_equal(first[-1].permute(1, 2, 0).numpy(), last)


@pytest.mark.parametrize("suffix", [".gif", ".webp", ".png"])
def test_an_animated_image(suffix: str, tmp_path: Path) -> None:
    """Every frame in RGB, and how fast they are shown."""
    first, *others = [Image.fromarray(plain(grey)) for grey in GREYS]
    path = tmp_path / f"walk{suffix}"
    first.save(path, save_all=True, append_images=others, duration=40, lossless=True)
    video = open_video(path)
    assert (video.name, video.length, video.frames_per_second) == ("walk", 4, 25)
    for _ in range(2):
        frames = list(video)
        assert [frame[:, 20, 20].tolist() for frame in frames] == [[grey] * 3 for grey in GREYS]
        assert frames[0].dtype == torch.uint8 and frames[0].shape == (3, 32, 48)


def test_a_still_image_is_one_frame(tmp_path: Path, write_image: WriteImage) -> None:
    """It has no speed."""
    video = open_video(write_image(tmp_path / "still.jpg"))
    assert len(list(video)) == video.length == 1 and video.frames_per_second is None


def test_a_size_that_changes_is_refused(tmp_path: Path, write_image: WriteImage) -> None:
    """Frames before it come all the same."""
    write_image(tmp_path / "1.png", size=(48, 64))
    write_image(tmp_path / "2.png", size=(48, 60))
    frames = iter(open_video(tmp_path))
    assert next(frames).shape == (3, 48, 64)
    with pytest.raises(DataError, match="60 wide"):
        next(frames)


def test_nothing_there(tmp_path: Path) -> None:
    """A missing file, and a folder without frames."""
    with pytest.raises(DataError, match=r"no video `.*lost\.mp4`"):
        open_video(tmp_path / "lost.mp4")
    with pytest.raises(DataError, match="no frames in"):
        open_video(tmp_path)


def test_a_damaged_animation_is_refused(tmp_path: Path) -> None:
    """At once if nothing of it can be read."""
    (tmp_path / "a.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match=r"a\.gif` cannot be read"):
        open_video(tmp_path / "a.gif")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it, and what works without."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / "a.mp4").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"pip install 'widthwise\[video\]'") as caught:
        open_video(tmp_path / "a.mp4")
    assert "ffmpeg -i a.mp4" in str(caught.value)


@needs_av
def test_a_video_file(tmp_path: Path) -> None:
    """All frames in RGB and in order, twice; its speed and length."""
    video = open_video(film(tmp_path / "walk.mp4"))
    assert (video.name, video.length, video.frames_per_second) == ("walk", 4, 25)
    for _ in range(2):
        frames = list(video)
        assert [frame.shape for frame in frames] == [(3, 32, 48)] * 4
        for frame, grey in zip(frames, GREYS, strict=True):
            assert (frame[:, 24, 24].int() - grey).abs().max() <= 4
            assert frame[:, 2, 2].min() > 230


@needs_av
@pytest.mark.parametrize(
    ("matrix", "corner"),
    [((0, 1, -1, 0), (0, -1)), ((-1, 0, 0, -1), (-1, -1)), ((0, -1, 1, 0), (-1, 0))],
)
def test_a_video_is_turned_upright(
    matrix: tuple[int, ...], corner: tuple[int, int], tmp_path: Path
) -> None:
    """By a quarter clockwise, a half or three quarters, as the file's own matrix says."""
    path = film(tmp_path / "walk.mp4")
    content = path.read_bytes()
    # The matrix of the track lies 44 bytes behind the name of its header.
    start = content.index(b"tkhd") + 44
    a, b, c, d = matrix
    turned = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    assert content[start : start + 4] == struct.pack(">i", 1 << 16)
    path.write_bytes(content[:start] + turned + content[start + 36 :])
    frame = next(iter(open_video(path)))
    assert frame.shape == ((3, 32, 48) if a else (3, 48, 32))
    white = (frame[0] > 200).nonzero().double().mean(0) / torch.tensor(frame.shape[1:])
    assert [-1 if place > 0.5 else 0 for place in white.tolist()] == list(corner)


@needs_av
@pytest.mark.parametrize("content", [b"", b"no video at all", None])
def test_a_damaged_video_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """The error names the file; so it does where only the sound is left."""
    path = tmp_path / "a.mp4"
    if content is None:
        path = film(tmp_path / "a.wav", sound_only=True)
    else:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read|has no pictures") as caught:
        open_video(path)
    assert str(path) in str(caught.value)
