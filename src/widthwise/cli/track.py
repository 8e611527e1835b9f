"""``widthwise track RUN VIDEO``: a run's network follows a target through a video."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from widthwise.cli import VERBS

EPILOG = """\
Writes boxes.csv (frame, x, y, width, height, score), sheet.png (some frames with their boxes) and
tracked.mp4, or tracked.gif where the package `av` is not installed. Found boxes are red, true ones
green. x and y of the upper left corner count from 0, frames from 1.

A folder of frames with true boxes (groundtruth.txt, or the layout of a published set) needs no
--box, and scores are printed; --task.rules lasot and the like choose by whose rules.
"""


def run(arguments: Sequence[str]) -> int:
    """Follow a target with the network of a run folder, and write what was found.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(
        prog="widthwise track",
        description=VERBS["track"],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder of the task tracking")
    parser.add_argument(
        "video",
        metavar="VIDEO",
        type=Path,
        help="a folder of frames, an animated GIF, WebP or PNG, or a video file (needs `av`)",
    )
    parser.add_argument(
        "--box",
        metavar="X,Y,W,H",
        type=_numbers,
        help="the target in the first frame, in pixels; --box=-5,8,40,40 if it starts outside",
    )
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="a new or empty folder (default: tracked/NAME in the run folder)",
    )
    parser.add_argument(
        "--arm",
        metavar="ARM",
        default="found",
        help="which network of the run: found, or one trained beside it, such as full or uniform",
    )
    given, settings = parser.parse_known_args(arguments)

    from rich.console import Console
    from rich.progress import track

    from widthwise.recipes.track import track_video
    from widthwise.tasks.tracking.task import Tracking

    screen = Console(stderr=True)

    def progress(frames: Iterable[Any], total: int | None) -> Iterable[Any]:
        return track(frames, "tracking", total=total, console=screen, transient=True)

    done = track_video(
        given.run,
        given.video,
        box=given.box,
        out=given.out,
        arm=given.arm,
        settings=settings,
        progress=progress,
    )
    height, width = done.size
    print(f"{len(done.boxes)} frames of {width} x {height} pixels", end="")
    if done.frames_per_second:
        print(f", {done.frames_per_second:.1f} per second without reading and writing files")
    else:
        print(": there is nothing to follow after the first")
    if done.measured is not None:
        print(f"By the rules of {done.rules}:")
        for measure in Tracking.measures:
            value = measure.finer().write(getattr(done.measured, measure.name))
            print(f"  {measure.title:<22}{value}")
    for path in (done.table, done.sheet, done.film):
        print(path)
    if done.film.suffix == ".gif":
        print("Note: `pip install 'widthwise[video]'` lets videos be written as MP4.")
    return 0


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 30,20,40,40: {text!r}"
        ) from error
