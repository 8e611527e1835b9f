"""``widthwise compare RUN...``: several finished runs in one table."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from widthwise.cli import VERBS


def run(arguments: Sequence[str]) -> int:
    """Print a table per configuration, over its seeds; write it with --out.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    parser = argparse.ArgumentParser(prog="widthwise compare", description=VERBS["compare"])
    parser.add_argument("runs", metavar="RUN", type=Path, nargs="+", help="run folders")
    parser.add_argument(
        "--out",
        metavar="FOLDER",
        type=Path,
        help="write compare.json, compare.md, compare.svg and compare.png there",
    )
    given = parser.parse_args(arguments)

    from rich.console import Console
    from rich.table import Table

    from widthwise.report.comparison import compare_runs
    from widthwise.report.comparison_views import (
        columns,
        rows,
        seeds,
        write_comparison,
    )

    comparison = compare_runs(given.runs)
    console = Console(highlight=False)
    if not console.is_terminal:
        # A pipe has no width of its own, and a table in narrow columns cannot be read.
        console.width = 160
    for group in comparison.groups:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for number, column in enumerate(columns(group)):
            table.add_column(column, justify="right" if number else "left")
        for row in rows(group):
            table.add_row(*row)
        console.print(f"\n{group.name}", style="bold", markup=False, soft_wrap=True)
        console.print(f"{seeds(group)}\n", markup=False, soft_wrap=True)
        console.print(table)
    if given.out is not None:
        write_comparison(comparison, given.out)
        print(f"\nWritten: {given.out}/compare.json, compare.md, compare.svg, compare.png")
    return 0
