"""Videos written: MP4 where the package `av` is installed, animated GIF where it is not."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from enum import StrEnum
from fractions import Fraction
from itertools import chain
from typing import IO, Any

import numpy as np
from PIL import Image

USUAL_RATE = 25.0
"""Frames per second of a video that does not say."""
GIF_SIDE = 480
"""Longer side of an animated GIF at most, in pixels: Pillow holds all frames of one in memory."""

Picture = np.ndarray[Any, np.dtype[np.uint8]]
"""RGB, shape ``[h, w, 3]``."""


class Film(StrEnum):
    """What kind of file a video becomes; the value is the ending of its name."""

    MP4 = ".mp4"
    """H.264, or MPEG-4 where this build of FFmpeg has no H.264; needs `av`."""
    GIF = ".gif"
    """An animated image of 256 colours, for everything that shows images."""


def best_film() -> Film:
    """Choose MP4 if `av` is installed, else GIF."""
    return Film.GIF if importlib.util.find_spec("av") is None else Film.MP4


def write_film(
    file: IO[bytes], pictures: Iterable[Picture], kind: Film, *, rate: float | None = None
) -> None:
    """Write a video.

    Args:
        file: Open for writing; the place in it can be changed.
        pictures: At least one, all of one size. They are taken one by one.
        kind: What kind of file. Of odd sides, MP4 repeats the last row or column; GIF is made
            smaller if a side is longer than 480 pixels.
        rate: Frames per second; 25 if not given.
    """
    if kind is Film.MP4:
        _write_mp4(file, pictures, rate or USUAL_RATE)
    else:
        _write_gif(file, pictures, rate or USUAL_RATE)


def reduced(picture: Picture, side: int) -> Image.Image:
    """Make a picture smaller if it is large.

    Args:
        picture: Not changed.
        side: Pixels that its longer side may have.

    Returns:
        The picture, for Pillow.
    """
    image = Image.fromarray(picture)
    image.thumbnail((side, side))
    return image


def _write_mp4(file: IO[bytes], pictures: Iterable[Picture], rate: float) -> None:
    import av

    has_h264 = "libx264" in av.codec.codecs_available
    codec, options = ("libx264", {"preset": "veryfast"}) if has_h264 else ("mpeg4", {"qscale": "3"})
    every = (_with_even_sides(picture) for picture in pictures)
    first = next(every)
    with av.open(file, "w", format="mp4") as film:
        # What it is depends on the codec's name, which types do not tell.
        stream: Any = film.add_stream(
            codec, rate=Fraction(rate).limit_denominator(1000), options=options
        )
        stream.height, stream.width = first.shape[:2]
        stream.pix_fmt = "yuv420p"  # the only one that every player knows
        # In the background it would take time from the tracker whose speed is measured.
        stream.codec_context.thread_count = 1
        for picture in chain([first], every):
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        film.mux(stream.encode(None))


def _with_even_sides(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _write_gif(file: IO[bytes], pictures: Iterable[Picture], rate: float) -> None:
    images = (reduced(picture, GIF_SIDE) for picture in pictures)
    first = next(images)
    # Viewers show what lasts less than 20 ms more slowly than it says.
    duration = max(round(1000 / rate), 20)
    first.save(file, format="GIF", save_all=True, append_images=images, duration=duration, loop=0)
