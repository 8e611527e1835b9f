"""``widthwise crop IMAGES PARTS``: large photographs in parts, to train on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS


def run(arguments: Sequence[str]) -> int:
    """Cut all images of a folder into squares.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="widthwise crop", description=VERBS["crop"])
    parser.add_argument("images", metavar="IMAGES", type=Path, help="a folder of image files")
    parser.add_argument("parts", metavar="PARTS", type=Path, help="a new folder for the parts")
    parser.add_argument("--side", type=int, default=480, help="of a part, in pixels (480)")
    parser.add_argument("--step", type=int, default=240, help="to the next part, in pixels (240)")
    given = parser.parse_args(arguments)

    from rich.progress import track

    from widthwise.data.cutting import cut_images
    from widthwise.data.photographs import files_in

    total = len(files_in(given.images, setting="IMAGES"))
    parts = cut_images(given.images, given.parts, side=given.side, step=given.step)
    for _ in track(parts, description="cutting", total=total):
        pass
    return 0
