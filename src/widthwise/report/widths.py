"""The widths of all axes before and after: the figure a search is looked at for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter

from widthwise.report.theme import GRID, MUTED, PALE, new_figure

NAMED = 40
"""Most axes that are drawn with their names, one row each."""

_WIDE = 10.4
"""Inches. The width of the page."""

_CHARACTER = 0.085
"""Inches that a character of a group's name takes."""


@dataclass(frozen=True, kw_only=True)
class Widths:
    """The widths of one network, and how they are drawn."""

    title: str
    colour: str
    widths: Mapping[str, int]
    """Axis -> width."""


def widths_figure(full: Mapping[str, int], found: Widths, other: Widths | None) -> Figure:
    """Draw the widths of all axes before and after, one bar per axis, in execution order.

    Up to `NAMED` axes are rows with their names. More of them are columns, grouped by the stage
    of the network they belong to, above the share that each one keeps.

    Args:
        full: Axis -> width in the full network.
        found: What was found; it may be wider than the full network.
        other: Another network to compare with, if there is one.

    Returns:
        The figure.
    """
    draw = _rows if len(full) <= NAMED else _columns
    figure = draw(full, found, other)
    handles: list[Artist] = [
        Patch(color=found.colour, label=found.title),
        Patch(color=PALE, label="Full network"),
    ]
    if other is not None:
        handles.append(Line2D([], [], color=other.colour, linewidth=2.2, label=other.title))
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), fontsize=9.5, frameon=False
    )
    return figure


def stages(names: Sequence[str]) -> list[tuple[str, int]]:
    """Group axes by the stage of the network they belong to.

    Stages are told by the first part of the names, or by as many parts as it takes to have three
    of them.

    Args:
        names: Names of axes in execution order.

    Returns:
        Name and number of axes of each stage, in order.

    Example:
        >>> stages(["conv1", "layer1.0.conv1", "layer1.1.conv1", "layer2.0.conv1"])
        [('conv1', 1), ('layer1', 2), ('layer2', 1)]
    """
    groups: list[tuple[str, int]] = []
    for depth in range(1, max(name.count(".") for name in names) + 2):
        groups = []
        for name in names:
            stage = ".".join(name.split(".")[:depth])
            if groups and groups[-1][0] == stage:
                groups[-1] = (stage, groups[-1][1] + 1)
            else:
                groups.append((stage, 1))
        if len(groups) >= 3:
            break
    return groups


def _rows(full: Mapping[str, int], found: Widths, other: Widths | None) -> Figure:
    names = list(full)
    rows = range(len(names))
    figure, axes = new_figure(_WIDE, 1.25 + 0.27 * len(names))
    axes.barh(rows, [full[n] for n in names], height=0.78, color=PALE)
    # Narrower than what lies under it, so that the full width shows where more was found.
    axes.barh(rows, [found.widths[n] for n in names], height=0.5, color=found.colour)
    if other is not None:
        axes.vlines(
            [other.widths[n] for n in names],
            [row - 0.44 for row in rows],
            [row + 0.44 for row in rows],
            color=other.colour,
            linewidth=2.2,
        )
    longest = {name: max(full[name], found.widths[name]) for name in names}
    room = max(longest.values(), default=0) * 0.012
    for row, name in zip(rows, names, strict=True):
        text = f"{found.widths[name]} of {full[name]}"
        if found.widths[name] > full[name]:
            text = f"{found.widths[name]}, was {full[name]}"
        axes.text(longest[name] + room, row, text, va="center", fontsize=8.5, color=MUTED)
    axes.set_yticks(list(rows), names, family="monospace", fontsize=9)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("width (units)")
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    return figure


def _columns(full: Mapping[str, int], found: Widths, other: Widths | None) -> Figure:
    names = list(full)
    figure = Figure(figsize=(_WIDE, 5.6), layout="constrained")
    widths, kept = figure.subplots(2, sharex=True, height_ratios=(3, 2))
    shares = [found.widths[n] / full[n] for n in names]
    _draw_columns(widths, [full[n] for n in names], PALE, [1] * len(names))
    _draw_columns(widths, [found.widths[n] for n in names], found.colour, shares)
    widths.set_ylabel("width (units)")
    widths.yaxis.set_major_locator(MaxNLocator(integer=True))
    _draw_columns(kept, [1.0 for _ in names], PALE, [1] * len(names))
    _draw_columns(kept, shares, found.colour, shares)
    kept.set_ylabel("kept" if max(shares, default=0) <= 1 else "of the full width")
    kept.yaxis.set_major_locator(MultipleLocator(0.25 if max(shares, default=0) <= 1 else 0.5))
    kept.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    if other is not None:
        _draw_level(widths, [other.widths[n] for n in names], other.colour)
        _draw_level(kept, [other.widths[n] / full[n] for n in names], other.colour)
    for axes in (widths, kept):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.set_xlim(-1, len(names))
        axes.set_ylim(bottom=0)
        axes.tick_params(axis="x", length=0)
    _name_stages((widths, kept), names)
    return figure


def _draw_columns(
    axes: Axes, heights: Sequence[float], colour: str, shares: Sequence[float]
) -> None:
    """Draw a bar per axis; one that is above its full width is slim, so that both are seen."""
    sizes = [0.8 if share <= 1 else 0.45 for share in shares]
    axes.bar(range(len(heights)), heights, width=sizes, color=colour)


def _draw_level(axes: Axes, heights: Sequence[float], colour: str) -> None:
    places = range(len(heights))
    axes.hlines(
        heights,
        [place - 0.5 for place in places],
        [place + 0.5 for place in places],
        color=colour,
        linewidth=1.4,
    )


def _name_stages(panels: Sequence[Axes], names: Sequence[str]) -> None:
    """Part the stages by lines, and name those for which there is room, large ones first."""
    inch = (_WIDE - 1) / (len(names) + 1)
    start, spans = 0, []
    for stage, count in stages(names):
        if start:
            for axes in panels:
                axes.axvline(start - 0.5, color=MUTED, linewidth=0.7, linestyle=(0, (1, 3)))
        half = _CHARACTER * (len(stage) + 1) / inch / 2
        spans.append((count, start + (count - 1) / 2, half, stage))
        start += count
    named: list[tuple[int, float, float, str]] = []
    for span in sorted(spans, reverse=True):
        if all(abs(span[1] - other[1]) >= span[2] + other[2] for other in named):
            named.append(span)
    places, labels = [span[1] for span in named], [span[3] for span in named]
    panels[-1].set_xticks(places, labels, family="monospace", fontsize=9)
    panels[-1].set_xlabel(f"{len(names)} axes in the order they are computed in")
