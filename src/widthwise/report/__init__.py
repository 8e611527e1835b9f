"""Figures and one self-contained page, from the files of a run folder alone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from widthwise.report.figures import cost_figure, curves_figure, importance_figure, measure_figure
from widthwise.report.page import page
from widthwise.report.records import RunRecord, read_run
from widthwise.report.theme import PAPER, arm_colour, house_style, render, svg_text
from widthwise.report.widths import Widths, widths_figure
from widthwise.runs import write_file

__all__ = ["build_report"]


def build_report(folder: Path) -> Path:
    """Write report.html and figures/ of a finished run.

    Args:
        folder: A run folder.

    Returns:
        The page.

    Raises:
        RunError: If there is no finished run in the folder, or a file of it is damaged, or a file
            cannot be written.
    """
    record = read_run(folder)
    with house_style():
        figures = _figures(record)
        for name, figure in figures.items():
            for kind in ("svg", "png"):
                content = render(figure, kind, facecolor=PAPER, dpi=160)
                write_file(folder / "figures" / f"{name}.{kind}", content)
        elements = {name: svg_text(figure, name=name) for name, figure in figures.items()}
    target = folder / "report.html"
    write_file(target, page(record, elements))
    return target


def _figures(record: RunRecord) -> dict[str, Figure]:
    figures = {"widths": _widths(record)}
    for measure in record.results.measures:
        figures[f"test_{measure.name}"] = measure_figure(record, measure)
    for number, curves in enumerate(record.curves):
        figures[f"curves_{number}"] = curves_figure(record, curves)
    if record.found.before is not None and record.found.before.reached is not None:
        figures["cost"] = cost_figure(record)
    if record.importance:
        figures["importance"] = importance_figure(record)
    return figures


def _widths(record: RunRecord) -> Figure:
    """Draw the free axes that the found network and the full one have in common."""
    full, found = record.results.full, record.found
    free = {
        name: width
        for name, width in full.widths.items()
        if name not in full.frozen and name in found.widths
    }
    drawn = [
        Widths(title=arm.title, colour=arm_colour(place), widths=arm.widths)
        for place, arm in enumerate(record.results.arms)
    ]
    # The first that neither has the widths that were found nor those of the full network.
    other = next(
        (
            arm
            for arm in drawn
            if all(name in arm.widths for name in free)
            and any(arm.widths[name] != found.widths[name] for name in free)
            and any(arm.widths[name] != width for name, width in free.items())
        ),
        None,
    )
    return widths_figure(free, drawn[0], other)
