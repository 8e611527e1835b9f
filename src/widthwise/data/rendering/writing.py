"""Rendered clips written into a folder, as the published sets have theirs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Sequence
from enum import StrEnum
from pathlib import Path

from widthwise._version import __version__
from widthwise.data.clip_layouts import Layout, write_clip
from widthwise.data.rendering.clips import render_clip
from widthwise.data.rendering.settings import RenderSettings
from widthwise.data.rendering.stills import stills_in
from widthwise.data.rendering.studio import Still, Studio
from widthwise.errors import ConfigError, DataError
from widthwise.files import write_atomically

FACTS = "rendering.json"
"""Says how the clips of a folder were rendered; written after the last of them."""


class Part(StrEnum):
    """Which photographs of a folder are rendered from."""

    TRAIN = "train"
    """Three of four, in the order of their names; those of ``train`` if there is such a folder."""
    TEST = "test"
    """The others."""
    ALL = "all"
    """All of them."""


def stills_of(folder: Path, part: Part, *, regions: Path | None = None) -> tuple[Still, ...]:
    """Load photographs to render from.

    Args:
        folder: Image files.
        part: Which of them.
        regions: Segmentations under the same names; see `widthwise.data.rendering.stills`.

    Returns:
        The photographs.

    Raises:
        DataError: If there are none, or one or its regions cannot be used.
    """
    splits = ("train", "test") if part is Part.ALL else (part.value,)
    return tuple(
        still
        for split in splits
        for still in stills_in(folder, split, regions=regions, setting="PHOTOS")
    )


def write_rendered(
    stills: Sequence[Still],
    settings: RenderSettings,
    out: Path,
    *,
    clips: int,
    length: int,
    seed: int,
    layout: Layout = Layout.LASOT,
) -> Iterator[Path]:
    """Render clips and write each into a folder of its own.

    A clip depends on the photographs, the settings, the seed, its number and the length, and on
    nothing else: twice as many clips begin with the same ones.

    Args:
        stills: Photographs, at least two.
        settings: Ranges of scenes.
        out: Folder for the clips, which must be empty; made if it is not there.
        clips: How many.
        length: Frames of each.
        seed: Decides them, with the other arguments.
        layout: `Layout.LASOT`, which has flags for hidden targets, or `Layout.OTB`.

    Returns:
        The folder of each clip, once it is written whole.

    Raises:
        ConfigError: If a number is too small, or the layout is another one.
        DataError: If there are fewer than two photographs or they give no clip, the folder has
            files, or cannot be written.
    """
    problems = [
        f"`{name}` must be at least {least}: got {value}"
        for name, value, least in (("clips", clips, 1), ("length", length, 1), ("seed", seed, 0))
        if value < least
    ]
    if layout not in (Layout.LASOT, Layout.OTB):
        problems.append(f"clips are written as `lasot` or `otb`: got `{layout}`")
    if problems:
        raise ConfigError("Rendering is set up wrongly:\n    " + "\n    ".join(problems))
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError(
            f"`{out}` {'is not empty' if out.is_dir() else 'is a file'}.\n"
            "Why: clips that are left over from before would be taken for these.\n"
            "Hint: name another folder, or delete it."
        )
    studio = Studio(stills, settings)

    def written() -> Iterator[Path]:
        facts = {
            "clips": clips,
            "length": length,
            "seed": seed,
            "photographs": len(stills),
            "layout": layout.value,
            "render": vars(settings),
            "widthwise": __version__,
        }
        try:
            for number in range(clips):
                yield _write(studio, out, number, length=length, seed=seed, layout=layout)
            write_atomically(out / FACTS, json.dumps(facts, indent=2) + "\n")
        except OSError as error:
            raise DataError(
                f"Clips cannot be written to `{out}`: {error.strerror or error}.\n"
                "Hint: free some space, or name a folder that can be written; clips that are there "
                "are whole."
            ) from error

    return written()


def _write(
    studio: Studio, out: Path, number: int, *, length: int, seed: int, layout: Layout
) -> Path:
    clip = render_clip(studio, seed, number, length=length)
    # Under a hidden name, which no reader looks at, until it is whole.
    hidden, place = out / f".{clip.name}", out / clip.name
    try:
        write_clip(hidden, clip.frames(), clip.boxes, clip.absent, layout=layout)
        hidden.rename(place)
    except BaseException:
        shutil.rmtree(hidden, ignore_errors=True)
        raise
    return place
