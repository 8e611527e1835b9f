"""``widthwise compare RUN...``: several finished runs in one table."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

from widthwise.cli import VERBS


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
    if given.against is None:
        _by_configuration(given.runs, given.out)
    else:
        _over_methods(given.runs, given.against, given.time, given.out)
    if given.out is not None:
        print(f"\nWritten: {given.out}/compare.json, compare.md, compare.svg, compare.png")
    return 0


def _by_configuration(runs: Sequence[Path], out: Path | None) -> None:
    from widthwise.report.comparison import compare_runs
    from widthwise.report.comparison_views import columns, rows, seeds, write_comparison

    comparison = compare_runs(runs)
    for group in comparison.groups:
        _print(group.name, [seeds(group)], columns(group), rows(group), [])
    if out is not None:
        write_comparison(comparison, out)


def _over_methods(runs: Sequence[Path], against: str, engine: str | None, out: Path | None) -> None:
    from widthwise.report.contest import contest
    from widthwise.report.contest_views import columns, explanation, rows, verdict, write_contest

    found = contest(runs, against=against)
    if engine is not None:
        from widthwise.latency.engines import Engine, Setting
        from widthwise.recipes.contest import with_times

        found = with_times(found, Setting(engine=Engine(engine), batch=1, threads=1, device="cpu"))
    for level in found.levels:
        name = f"{found.name}, {level.budget}"
        _print(name, [], columns(found), rows(found, level), [verdict(found, level)])
    print(f"\n{explanation(found)}")
    for note in found.notes:
        print(f"- {note}")
    if out is not None:
        write_contest(found, out)


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
