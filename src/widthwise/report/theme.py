"""Colours and type of figures, and how a figure becomes part of a page."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INK = "#1d232b"
MUTED = "#66707d"
GRID = "#dfe3e8"
PAPER = "#ffffff"
FOUND = "#2866c8"
FULL = "#8b95a3"
UNIFORM = "#d9822b"
SCRATCH = "#7a4fb5"
L1 = "#23876c"
PALE = "#d5dfef"

ON_PAGE = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    GRID: "var(--grid)",
    PAPER: "var(--paper)",
    FOUND: "var(--found)",
    FULL: "var(--full)",
    UNIFORM: "var(--uniform)",
    SCRATCH: "var(--scratch)",
    L1: "var(--l1)",
    PALE: "var(--pale)",
}
"""Colour in a figure -> the variable of the page that replaces it, so that pages can be dark."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
}


def house_style() -> AbstractContextManager[None]:
    """Give everything that is drawn inside the house style; matplotlib keeps it in globals."""
    return rc_context({**_STYLE, "svg.hashsalt": "widthwise"})


def new_figure(width: float, height: float) -> tuple[Figure, Axes]:
    """Make an empty figure with one pair of axes, inside `house_style`.

    Args:
        width: In inches.
        height: In inches.

    Returns:
        The figure and its axes.
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def svg_text(figure: Figure, *, name: str) -> str:
    """Render a figure as an SVG element to put into a page, inside `house_style`.

    Args:
        figure: Made by `new_figure`.
        name: Distinguishes the ids of figures on one page.

    Returns:
        An ``<svg>`` element whose colours are variables of the page.
    """
    text = render(figure, "svg").decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{name}-", text)
    for colour, variable in ON_PAGE.items():
        text = text.replace(colour, variable)
    return text


def render(figure: Figure, kind: str, **options: Any) -> bytes:
    """Render a figure as a file, inside `house_style`.

    Args:
        figure: Made by `new_figure`.
        kind: ``svg`` or ``png``.
        **options: Passed to `Figure.savefig`.

    Returns:
        The content of the file; the same every time.
    """
    buffer = io.BytesIO()
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    figure.savefig(buffer, format=kind, metadata=metadata, **options)
    return buffer.getvalue()
