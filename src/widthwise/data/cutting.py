"""Cut large photographs into parts that are quick to read; see ``widthwise crop``.

A crop of 96 pixels out of a photograph of 2,000 means decoding all of it. Published networks are
trained on parts of 480x480 pixels, one every 240, of the images of DIV2K.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from widthwise.data.photographs import files_in
from widthwise.errors import DataError


def cut_images(folder: Path, out: Path, *, side: int = 480, step: int = 240) -> Iterator[Path]:
    """Cut all images below a folder into squares and write them as PNG.

    Args:
        folder: Image files.
        out: Where the parts go, named after their image and numbered; made if it is not there.
        side: Height and width of the parts in pixels.
        step: From one part to the next, in pixels. The last ones lie at the border, wherever that
            is.

    Yields:
        Each image, when its parts are written.

    Raises:
        DataError: If there are no images, one cannot be read or is smaller than a part, there are
            parts already, or a number is below 1. Nothing has been written then but the parts of
            images before it.
    """
    if min(side, step) < 1:
        raise DataError(f"Parts of {side}x{side} pixels, one every {step}: both must be above 0.")
    files = files_in(folder, setting="the folder")
    if out.is_dir() and any(out.iterdir()):
        raise DataError(f"`{out}` is not empty.\nHint: cut into another folder, or empty it.")
    out.mkdir(parents=True, exist_ok=True)
    digits = len(str(len(files)))
    for number, path in enumerate(files):
        try:
            with Image.open(path) as image:
                image.load()
        except (OSError, ValueError, SyntaxError) as error:
            raise DataError(
                f"`{path}` cannot be read: {error}\nHint: get it again, or remove it."
            ) from error
        if min(image.size) < side:
            width, height = image.size
            raise DataError(
                f"`{path}` of {height}x{width} pixels is smaller than parts of {side}x{side}.\n"
                "Hint: ask for smaller parts, or remove it."
            )
        places = [
            (left, top)
            for top in _starts(image.height, side, step)
            for left in _starts(image.width, side, step)
        ]
        for part, (left, top) in enumerate(places, 1):
            # Numbered first, so that the order of the parts is that of the images.
            name = f"{number:0{digits}}_{path.stem}_s{part:03}.png"
            image.crop((left, top, left + side, top + side)).save(out / name)
        yield path


def _starts(length: int, side: int, step: int) -> list[int]:
    starts = list(range(0, length - side + 1, step))
    return starts if starts[-1] == length - side else [*starts, length - side]
