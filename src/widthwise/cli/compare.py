"""``widthwise compare RUN...``: several finished runs in one table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from widthwise.cli import VERBS

if TYPE_CHECKING:
    from widthwise.report.comparison import Comparison
    from widthwise.report.contest import Contest

_WRITTEN = "\nWritten: {0}/compare.json, compare.md, compare.svg, compare.png"


def run(arguments: Sequence[str]) -> int:
    """Print a table per configuration over its seeds, or one over methods; write it with --out.

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
    parser.add_argument(
        "--against",
        metavar="ARM",
        help="one table over all methods, per budget: every network against this arm, such as "
        "uniform, with intervals and p-values corrected for their number",
    )
    parser.add_argument(
        "--time",
        choices=("eager", "compiled", "onnxruntime"),
        metavar="ENGINE",
        help="with --against: measure milliseconds of every network on one thread, in eager, "
        "compiled or onnxruntime",
    )
    given = parser.parse_args(arguments)
    if given.time is not None and given.against is None:
        parser.error("--time goes with --against")

    from widthwise.report.comparison import compare_runs
    from widthwise.report.contest import contest

    if given.against is None:
        show_comparison(compare_runs(given.runs), given.out)
        return 0
    found = contest(given.runs, against=given.against)
    if given.time is not None:
        found = _timed(found, given.time)
    show_contest(found, given.out)
    return 0


def show_comparison(comparison: Comparison, out: Path | None) -> None:
    """Print a table per configuration.

    Args:
        comparison: Of at least one run.
        out: Folder to write it to as well, if any.
    """
    from widthwise.report.comparison_views import columns, rows, seeds, write_comparison

    for group in comparison.groups:
        _print(group.name, [seeds(group)], columns(group), rows(group), [])
    if out is not None:
        write_comparison(comparison, out)
        print(_WRITTEN.format(out))


def _timed(found: Contest, engine: str) -> Contest:
    from widthwise.latency.engines import Engine, Setting
    from widthwise.recipes.contest import with_times

    return with_times(found, Setting(engine=Engine(engine), batch=1, threads=1, device="cpu"))


def show_contest(found: Contest, out: Path | None) -> None:
    """Print a table per budget, over all methods.

    Args:
        found: Of at least one run.
        out: Folder to write it to as well, if any.
    """
    from widthwise.report.contest_views import columns, explanation, rows, verdict, write_contest

    for level in found.levels:
        name = f"{found.name}, {level.budget}"
        _print(name, [], columns(found), rows(found, level), [verdict(found, level)])
    print(f"\n{explanation(found)}")
    for note in found.notes:
        print(f"- {note}")
    if out is not None:
        write_contest(found, out)
        print(_WRITTEN.format(out))


def _print(
    name: str,
    before: Sequence[str],
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    after: Sequence[str],
) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        # A pipe has no width of its own, and a table in narrow columns cannot be read.
        console.width = 160
    table = Table(box=None, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left")
    for row in rows:
        table.add_row(*row)
    console.print(f"\n{name}", style="bold", markup=False, soft_wrap=True)
    for line in before:
        console.print(line, markup=False, soft_wrap=True)
    console.print()
    console.print(table)
    for line in after:
        console.print(f"\n{line}", markup=False, soft_wrap=True)
