"""``widthwise restore RUN IMAGE...``: a run's network on a person's own photographs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS

EPILOG = """\
Settings of the run can be changed for it, such as --task.tile 256 for an image that is too large
for the memory, or --task.self_ensemble true. An image is taken as it is: no noise is added to it,
and it is not made smaller.
"""


def run(arguments: Sequence[str]) -> int:
    """Load the network of a run folder and write what it makes of images.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(
        prog="widthwise restore", description=VERBS["restore"], epilog=EPILOG
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="an image file")
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="where results are written"
    )
    given, settings = parser.parse_known_args(arguments)

    from rich.progress import track

    from widthwise.recipes.restore import restored_images

    results = restored_images(given.run, given.images, given.out, settings)
    for image, path in track(results, description="restoring", total=len(given.images)):
        print(f"{image} -> {path}")
    return 0
