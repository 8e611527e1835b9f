"""Figures and one self-contained page, from the files of a run folder alone."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from widthwise.report.figures import cost_figure, error_figure, latents_figure
from widthwise.report.page import page
from widthwise.report.records import RunRecord, read_run
from widthwise.report.theme import PAPER, house_style, render, svg_text
from widthwise.report.widths import widths_figure
from widthwise.runs import write_file

__all__ = ["build_report"]


def build_report(folder: Path) -> Path:
    """Write report.html and figures/ of a finished run.

    Args:
        folder: A run folder.

    Returns:
        The page.
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
    full, uniform = record.full, record.results.get("uniform")
    figures = {
        "widths": widths_figure(
            {name: w for name, w in full["widths"].items() if name not in full["frozen"]},
            record.found["widths"],
            None if uniform is None else uniform["widths"],
        ),
        "error": error_figure(record),
        "cost": cost_figure(record),
    }
    if record.latents:
        figures["latents"] = latents_figure(record)
    return figures
