"""``widthwise export RUN``: the found network as a file for other programs."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS


def run(arguments: Sequence[str]) -> int:
    """Export the trained narrow network of a run folder, and say how well it agrees.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="widthwise export", description=VERBS["export"])
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    parser.add_argument(
        "--format",
        choices=("onnx", "torch_export"),
        default="onnx",
        help="onnx, or a program for torch.export.load (default: onnx)",
    )
    parser.add_argument(
        "--out",
        metavar="FILE",
        type=Path,
        help="default: in the run folder, named after network, method and data; a network that is "
        "used in parts, such as a tracker, becomes a file for each: FILE-PART",
    )
    given = parser.parse_args(arguments)

    from widthwise.export.runs import Format, export_run

    files = export_run(given.run, Format(given.format), given.out)
    for exported in files:
        print(
            f"{exported.path}\n"
            f"{exported.bytes / 1e6:.2f} MB; largest difference from PyTorch on random inputs "
            f"{exported.largest_difference:.1e}"
        )
    if "data" not in files[0].metadata:
        print(
            "Note: the run folder has no facts.json, so the file lacks what the task knows of its "
            "inputs and outputs, such as class names."
        )
    return 0
