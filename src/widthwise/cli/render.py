"""``widthwise render PHOTOS OUT``: clips with true boxes, rendered from photographs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS

EPILOG = """\
Things that are cut out of photographs move over other photographs, with decoys, things that look
alike, things that pass in front, and a camera that moves. The same photographs, options and seed
give the same clips, and more clips begin with the same ones.

Clips to test on must not show what was trained on: render them with --split test, and those to
train on with --split train. In the order of their names, every fourth photograph is for testing;
folders `train` and `test` in PHOTOS are taken as they are.
"""


def run(arguments: Sequence[str]) -> int:
    """Render clips into a folder.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(
        prog="widthwise render",
        description=VERBS["render"],
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("photographs", metavar="PHOTOS", type=Path, help="a folder of image files")
    parser.add_argument("out", metavar="OUT", type=Path, help="a new or empty folder")
    parser.add_argument("--clips", metavar="N", type=int, default=20, help="how many (20)")
    parser.add_argument("--length", metavar="N", type=int, default=60, help="frames of each (60)")
    parser.add_argument("--seed", metavar="N", type=int, default=0, help="decides them (0)")
    parser.add_argument(
        "--split",
        choices=("train", "test", "all"),
        default="train",
        help="which photographs to render from (train)",
    )
    parser.add_argument(
        "--layout",
        choices=("lasot", "otb"),
        default="lasot",
        help="how files are laid out; only lasot says where the target is hidden (lasot)",
    )
    parser.add_argument(
        "--regions",
        metavar="FOLDER",
        type=Path,
        help="grey images of the same names and sizes that number the things in each photograph; "
        "without them, targets are rectangles and ellipses",
    )
    looks = parser.add_argument_group("what clips look like")
    looks.add_argument("--width", metavar="N", type=int, default=320, help="of frames (320)")
    looks.add_argument("--height", metavar="N", type=int, default=240, help="of frames (240)")
    looks.add_argument(
        "--smallest", metavar="SIDE", type=float, default=20.0, help="target, in pixels (20)"
    )
    looks.add_argument(
        "--largest", metavar="SIDE", type=float, default=80.0, help="target, in pixels (80)"
    )
    looks.add_argument(
        "--distractors",
        metavar="SHARE",
        type=float,
        default=0.5,
        help="of clips with things that look like the target (0.5)",
    )
    looks.add_argument(
        "--occlusions",
        metavar="SHARE",
        type=float,
        default=0.35,
        help="of clips in which something passes in front of the target (0.35)",
    )
    looks.add_argument(
        "--no-decoys", dest="decoys", action="store_false", help="paste nothing but the target"
    )
    looks.add_argument(
        "--plain", action="store_true", help="one colour in the place of the background"
    )
    given = parser.parse_args(arguments)

    from rich.console import Console
    from rich.progress import track

    from widthwise.data.clip_layouts import Layout
    from widthwise.data.rendering.settings import RenderSettings
    from widthwise.data.rendering.writing import Part, stills_of, write_rendered

    settings = RenderSettings(
        width=given.width,
        height=given.height,
        smallest=given.smallest,
        largest=given.largest,
        decoys=given.decoys,
        distractors=given.distractors,
        occlusions=given.occlusions,
        plain=given.plain,
    )
    stills = stills_of(given.photographs, Part(given.split), regions=given.regions)
    places = write_rendered(
        stills,
        settings,
        given.out,
        clips=given.clips,
        length=given.length,
        seed=given.seed,
        layout=Layout(given.layout),
    )
    screen = Console(stderr=True)
    shown = track(places, "rendering", total=given.clips, console=screen, transient=True)
    count = len(list(shown))
    print(f"{count} clips of {given.length} frames in {given.out}")
    print(f"from {len(stills)} photographs (--split {given.split}), seed {given.seed}")
    return 0
