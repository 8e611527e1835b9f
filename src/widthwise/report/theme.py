"""Colours and type of figures and pages, and how a figure becomes part of a page."""

from __future__ import annotations

import io
import re
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_COLOURS = {
    "paper": ("#ffffff", "#15191f"),
    "wash": ("#f5f7fa", "#1d232b"),
    "ink": ("#1d232b", "#e6e9ee"),
    "muted": ("#66707d", "#98a2b0"),
    "grid": ("#dfe3e8", "#333b46"),
    "pale": ("#d5dfef", "#2d3a50"),
    "arm0": ("#2866c8", "#6aa0f2"),
    "arm1": ("#8b95a3", "#7d8896"),
    "arm2": ("#d9822b", "#e9a25b"),
    "arm3": ("#7a4fb5", "#b394e0"),
    "arm4": ("#23876c", "#5bc0a0"),
    "arm5": ("#b8405e", "#e77f98"),
    "arm6": ("#8a6d1f", "#cfb15c"),
}
"""Name of a colour -> it on light and on dark paper: every colour there is. The networks of a
comparison take theirs in turn, the found one first."""

_ARMS = [name for name in _COLOURS if name.startswith("arm")]

PAPER, INK, MUTED, GRID, PALE = (
    _COLOURS[name][0] for name in ("paper", "ink", "muted", "grid", "pale")
)
FOUND = _COLOURS["arm0"][0]


def arm_marker(place: int) -> str:
    """Return the shape of a network's points: another one each time that colours begin anew.

    Args:
        place: As for `arm_colour`.

    Returns:
        A marker of Matplotlib.
    """
    return "osD^"[place // len(_ARMS) % 4]


def arm_colour(place: int) -> str:
    """Return the colour of a network in figures.

    Args:
        place: Its place in the comparison, 0 for the found one.

    Returns:
        The colour, on light paper.
    """
    return _COLOURS[_ARMS[place % len(_ARMS)]][0]


def arm_variable(place: int) -> str:
    """Return the colour of a network on a page, as a variable; see `arm_colour`."""
    return f"var(--{_ARMS[place % len(_ARMS)]})"


def variables() -> str:
    """Return the style sheet that defines the colours of a page, on light and on dark paper."""
    light, dark = (
        " ".join(f"--{name}: {colours[shade]};" for name, colours in _COLOURS.items())
        for shade in (0, 1)
    )
    return (
        f":root {{ color-scheme: light dark; {light} }}\n"
        f"@media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
    )


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
    return figure, panel(figure)


def panel(figure: Figure, count: int = 1, number: int = 0) -> Axes:
    """Add one of some pairs of axes that stand side by side, inside `house_style`.

    Args:
        figure: Changed.
        count: Pairs of axes.
        number: Of this one, from 0.

    Returns:
        The axes.
    """
    axes = figure.add_subplot(1, count, number + 1)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    return axes


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
    for variable, (colour, _) in _COLOURS.items():
        text = text.replace(colour, f"var(--{variable})")
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
