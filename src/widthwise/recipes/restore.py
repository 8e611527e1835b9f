"""Use the network that a run has left behind on images of one's own."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from widthwise.data.photographs import read_photographs
from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.recipes.evaluate import finished_recipe
from widthwise.runs import write_file
from widthwise.tasks.restoration.task import Restoration


def restored_images(
    folder: Path, images: Sequence[Path], out: Path, settings: Sequence[str] = ()
) -> Iterator[tuple[Path, Path]]:
    """Restore images and write them as PNG, under their own names.

    Args:
        folder: A finished run of a restoration task.
        images: Image files, grey or RGB.
        out: Folder for the results; made if it is not there.
        settings: What to change in the recipe, as on the command line.

    Returns:
        Each image, and the file it became, once that is written.

    Raises:
        RunError: If there is no finished run in the folder.
        ConfigError: If the run is of another task, two images have one name, or a result would be
            written over an image.
        DataError: If an image cannot be read. Nothing has been written then.
    """
    recipe = finished_recipe(folder, settings)
    task = recipe.task.open()
    if not isinstance(task, Restoration):
        raise ConfigError(
            f"The run in `{folder}` is of the task `{task.name}`, which makes no images.\n"
            "Hint: use a run of `denoising` or `super_resolution`."
        )
    written = [out / f"{image.stem}.png" for image in images]
    for image, path in zip(images, written, strict=True):
        if written.count(path) > 1 or path.resolve() in [each.resolve() for each in images]:
            raise ConfigError(
                f"`{image}` would be written to `{path}`, where another image is.\n"
                "Hint: choose another `--out`, or restore them one after the other."
            )
    photographs = read_photographs(images, colour=recipe.task.colour)
    network = resolve(str(folder)).build()

    def restored() -> Iterator[tuple[Path, Path]]:
        for image, photograph, path in zip(images, photographs, written, strict=True):
            pixels = task.restore(network, photograph.pixels, recipe.hardware)
            picture = io.BytesIO()
            Image.fromarray(np.asarray(pixels)).save(picture, format="PNG")
            write_file(path, picture.getvalue())
            yield image, path

    return restored()
