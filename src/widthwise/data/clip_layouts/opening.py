"""Clips in a folder, whichever layout it has."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from enum import StrEnum
from pathlib import Path

from widthwise.data.clip_layouts import frames, got10k, lasot, otb, trackingnet, uav123, vot
from widthwise.data.clip_layouts.base import Conventions, Reader
from widthwise.data.clip_layouts.lines import lines_in
from widthwise.data.clips import Clip, frame_files
from widthwise.errors import DataError

DEEPEST = 3
"""Folders below the given one that are looked into, such as ``train/class/class-1``."""


class Layout(StrEnum):
    """How the files of a tracking set lie in folders."""

    AUTO = "auto"
    """Any of these, recognised sequence by sequence."""
    OTB = "otb"
    LASOT = "lasot"
    TRACKINGNET = "trackingnet"
    GOT10K = "got10k"
    UAV123 = "uav123"
    UAV20L = "uav20l"
    VOT = "vot"
    FRAMES = "frames"
    """Frames and ``groundtruth.txt`` with x, y, width and height, counted from 0."""


READERS: Mapping[Layout, Reader] = {
    # In this order: the first that matches. Frames with boxes match last, for others have them too.
    Layout.TRACKINGNET: trackingnet.READER,
    Layout.UAV123: uav123.SHORT_READER,
    Layout.UAV20L: uav123.LONG_READER,
    Layout.OTB: otb.READER,
    Layout.LASOT: lasot.READER,
    Layout.GOT10K: got10k.READER,
    Layout.VOT: vot.READER,
    Layout.FRAMES: frames.READER,
}
"""What reads each layout."""


def open_clips(
    folder: Path, layout: Layout = Layout.AUTO, *, conventions: Conventions | None = None
) -> tuple[Clip, ...]:
    """Find the clips in a folder. Boxes are read at once, frames when they are asked for.

    A sequence is found however deep it lies, down to three folders: the folder may be a whole set,
    one of its parts such as ``val``, or a single sequence. By `Layout.AUTO`, sequences of several
    layouts may lie side by side; LaSOT without its flags looks like a plain folder then, and
    UAV123 comes before UAV20L.

    Args:
        folder: Where they are.
        layout: How.
        conventions: What the files leave open; None for what is usual.

    Returns:
        The clips in the order of their folders' names.

    Raises:
        DataError: If there are none, frames have no boxes or boxes no frames, a file is damaged, or
            two clips have the same name.
    """
    folder = Path(folder)
    readers = [READERS[layout]] if layout is not Layout.AUTO else list(READERS.values())
    found = [
        clip
        for place, reader in _sequences(folder, readers, DEEPEST)
        for clip in reader.read(place, conventions or Conventions())
    ]
    if not found:
        raise _nothing(f"No clips were found in `{folder.absolute()}`", folder, readers)
    twice = [name for name, count in Counter(clip.name for clip in found).items() if count > 1]
    if twice:
        raise DataError(
            f"`{folder}` has several clips that are called `{twice[0]}`.\n"
            "Why: results are kept by name.\n"
            "Hint: open one part of the folder at a time, or rename one of them."
        )
    return tuple(found)


def _sequences(folder: Path, readers: list[Reader], deeper: int) -> Iterator[tuple[Path, Reader]]:
    """Walk down, and stop where a layout matches."""
    for reader in readers:
        if reader.matches(folder):
            yield folder, reader
            return
    if not folder.is_dir():
        return
    if frame_files(folder):
        raise _nothing(f"The frames in `{folder}` have no boxes", folder, readers)
    children = sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    _check_list(folder, {path.name for path in children})
    for child in children if deeper else ():
        yield from _sequences(child, readers, deeper - 1)


def _check_list(folder: Path, there: set[str]) -> None:
    path = folder / "list.txt"
    if not path.is_file():
        return
    listed = [words[0] for words in lines_in(path)]
    missing = [name for name in listed if name not in there]
    if missing:
        shown = ", ".join(f"`{name}`" for name in missing[:8])
        raise DataError(
            f"`{path}` lists {len(missing)} of {len(listed)} sequences that are not there: "
            f"{shown}.\n"
            "Why: scores of a part of a set would pass for those of the whole.\n"
            "Hint: get them, or take them out of the list."
        )


def _nothing(problem: str, folder: Path, readers: list[Reader]) -> DataError:
    state = "" if folder.is_dir() else ", which is not a folder"
    names = {id(reader): layout for layout, reader in READERS.items()}
    sought = "\n".join(f"    {names[id(reader)]:<12} {reader.looks_for}" for reader in readers)
    return DataError(
        f"{problem}{state}.\nLooked for, there and in folders below it:\n{sought}\n"
        "Hint: name the folder of a set or of one sequence; a file of boxes has one line per "
        "frame, with x, y, width and height."
    )
