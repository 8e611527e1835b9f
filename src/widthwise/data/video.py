"""Frames of a video: a folder of images, an animated image, or a file that FFmpeg reads."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageSequence
from torch import Tensor

from widthwise.data.clips import frames_in
from widthwise.data.photographs import SUFFIXES
from widthwise.errors import ConfigError, DataError

ANIMATED = (".gif", ".apng", *SUFFIXES)
"""Files that Pillow reads; such a file without animation is a video of one frame."""


@dataclass(frozen=True, kw_only=True)
class Video:
    """Frames one after the other; iterating anew starts from the first."""

    name: str
    """Of the file or the folder, without its ending."""
    length: int | None
    """Number of frames, as the file says; None if it does not. Files can be wrong."""
    frames_per_second: float | None
    """How fast it is meant to be shown; None if nothing says so."""
    read: Callable[[], Iterator[Tensor]]
    """Starts reading: uint8, RGB, shape ``[3, h, w]`` per frame, all of one size."""

    def __iter__(self) -> Iterator[Tensor]:
        size = None
        for number, frame in enumerate(self.read(), 1):
            size = size or frame.shape
            if frame.shape != size:
                raise DataError(
                    f"Frame {number} of the video `{self.name}` is {frame.shape[2]} wide and "
                    f"{frame.shape[1]} high, the first one is {size[2]} wide and {size[1]} high.\n"
                    "Why: boxes are in pixels, and mean another place once the frame is scaled.\n"
                    "Hint: cut the video in two where the size changes."
                )
            yield frame


def open_video(path: Path) -> Video:
    """Open a video.

    Args:
        path: A folder with image files, there or in ``img`` or ``color``; an animated GIF, WebP or
            PNG; or any other video file, which needs the package ``av``.

    Returns:
        The video. Frames are decoded when it is iterated over. What a phone filmed upright is
        turned upright.

    Raises:
        ConfigError: If a package is missing.
        DataError: If there is no such file or folder, no frames are in it, or it cannot be read;
            or, while reading, if a frame is damaged or has another size.
    """
    path = Path(path)
    if path.is_dir():
        files = frames_in(path, path / "img", path / "color")
        return Video(
            name=path.name,
            length=len(files),
            frames_per_second=None,
            read=lambda: (files[number] for number in range(len(files))),
        )
    if not path.is_file():
        raise DataError(
            f"There is no video `{path.absolute()}`.\n"
            "Hint: name a video file, or a folder with frames as image files."
        )
    return _animation(path) if path.suffix.lower() in ANIMATED else _film(path)


def _animation(path: Path) -> Video:
    with _reading(path), Image.open(path) as image:
        image.load()  # some formats say only then how long a frame is shown
        length = getattr(image, "n_frames", 1)
        milliseconds = image.info.get("duration")
    return Video(
        name=path.stem,
        length=length,
        frames_per_second=1000 / milliseconds if milliseconds and length > 1 else None,
        read=lambda: _animation_frames(path),
    )


def _animation_frames(path: Path) -> Iterator[Tensor]:
    from torchvision.transforms.v2.functional import pil_to_tensor

    with _reading(path), Image.open(path) as image:
        for frame in ImageSequence.Iterator(image):
            yield pil_to_tensor(frame.convert("RGB"))


def _film(path: Path) -> Video:
    av = _package(path)
    with _reading(path, av.FFmpegError), av.open(str(path)) as film:
        _check_stream(path, film)
        stream = film.streams.video[0]
        rate = stream.average_rate
        length = stream.frames or None
    return Video(
        name=path.stem,
        length=length,
        frames_per_second=float(rate) if rate else None,
        read=lambda: _film_frames(path),
    )


def _film_frames(path: Path) -> Iterator[Tensor]:
    av = _package(path)
    with _reading(path, av.FFmpegError), av.open(str(path)) as film:
        stream = film.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in film.decode(stream):
            pixels = torch.from_numpy(frame.to_ndarray(format="rgb24")).permute(2, 0, 1)
            # A phone writes the picture as its chip lies, and how it has to be turned.
            yield pixels.rot90(round(frame.rotation / 90), (1, 2)).contiguous()


def _package(path: Path) -> Any:
    if importlib.util.find_spec("av") is None:
        raise ConfigError(
            f"The video `{path}` needs `av`, not installed here.\n"
            "Hint: `pip install 'widthwise[video]'` installs it. A folder of frames needs nothing "
            f"more: `ffmpeg -i {path.name} frames/%06d.png` makes one. Nor does an animated GIF."
        )
    import av

    return av


def _check_stream(path: Path, film: Any) -> None:
    if not film.streams.video:
        raise DataError(f"`{path}` has no pictures, only sound or text.\nHint: name a video.")


@contextmanager
def _reading(path: Path, *others: type[Exception]) -> Iterator[None]:
    # What Pillow's readers raise on damaged files, and other kinds.
    kinds = (OSError, ValueError, SyntaxError, Image.DecompressionBombError, *others)
    try:
        yield
    except kinds as error:
        said = str(getattr(error, "strerror", None) or error) or type(error).__name__
        raise DataError(
            f"The video `{path}` cannot be read: {said.rstrip('.')}.\n"
            "Hint: the file is damaged, still being written, or no video; play it to find out."
        ) from error
