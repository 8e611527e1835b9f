"""``widthwise eval RUN``: a run's network on the test data."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS


def run(arguments: Sequence[str]) -> int:
    """Load the network of a run folder and measure it on the test data.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(
        prog="widthwise eval",
        description=VERBS["eval"],
        epilog="Settings of the run can be changed for it: --task.test_folder benchmark/Set14.",
    )
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    given, settings = parser.parse_known_args(arguments)

    from widthwise.recipes.evaluate import evaluate_run

    values, items = evaluate_run(given.run, settings)
    print(
        ", ".join(f"{measure.title} {measure.finer().write(value)}" for measure, value in values)
        + f" on {items:,} test items"
    )
    return 0
