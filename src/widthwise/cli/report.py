"""``widthwise report RUN``: rebuild the page."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS


def run(arguments: Sequence[str]) -> int:
    """Rebuild figures and report.html from the files of a run folder.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="widthwise report", description=VERBS["report"])
    parser.add_argument("run", metavar="RUN", type=Path, help="a run folder")
    given = parser.parse_args(arguments)

    from widthwise.report import build_report

    print(build_report(given.run))
    return 0
