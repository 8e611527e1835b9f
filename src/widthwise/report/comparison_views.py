"""A comparison of runs as a table, as a figure, and as files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from widthwise.measures import Measure
from widthwise.report.comparison import Comparison, Group, Spread
from widthwise.report.theme import GRID, INK, MUTED, PAPER, arm_colour, house_style, render
from widthwise.report.words import count
from widthwise.runs import write_file, write_json


def columns(group: Group) -> tuple[str, ...]:
    """Name the columns of the table of one group."""
    measured = [
        title
        for measure in group.measures
        for title in (measure.title[:1].upper() + measure.title[1:], "Found minus it")
    ]
    return ("Network", *measured, "MACs", "Parameters", "Epochs")


def rows(group: Group) -> Iterator[tuple[str, ...]]:
    """Write the table of one group.

    Args:
        group: Runs of one configuration.

    Yields:
        One text per column of `columns`, for each network.
    """
    for arm in group.arms.values():
        measured: list[str] = []
        for measure in group.measures:
            minus = None if arm.found_minus is None else arm.found_minus[measure.name]
            measured += [
                written(measure, arm.measures[measure.name]),
                "" if minus is None else _difference(measure, minus),
            ]
        yield (
            arm.title,
            *measured,
            f"{count(round(arm.macs))} ({arm.macs_fraction:.1%})",
            f"{count(round(arm.params))} ({arm.params_fraction:.1%})",
            f"{arm.epochs:.1f}".removesuffix(".0"),
        )


def markdown(comparison: Comparison) -> str:
    """Write a comparison as Markdown.

    Args:
        comparison: Of at least one run.

    Returns:
        A heading, a table and the machine, for each group.
    """
    parts = []
    for group in comparison.groups:
        header = columns(group)
        table = [header, ("---", *["--:"] * (len(header) - 1)), *rows(group)]
        lines = ["| " + " | ".join(row) + " |" for row in table]
        parts.append(f"### {group.name}\n\n{seeds(group)}\n\n" + "\n".join(lines) + "\n")
        parts.append(_machines(group))
    return "\n".join(parts)


def seeds(group: Group) -> str:
    """Say over what a group's numbers are taken."""
    if len(group.seeds) == 1:
        return f"One run, seed {group.seeds[0]}: no spread is known."
    listed = ", ".join(map(str, group.seeds))
    return (
        f"Mean ± standard deviation over n = {len(group.seeds)} seeds ({listed}); differences are "
        "taken seed by seed."
    )


def comparison_figure(comparison: Comparison) -> Figure:
    """Draw the headline measure of every network: a dot per seed, a tick at the mean, ± std.

    Args:
        comparison: Of at least one run.

    Returns:
        A figure with one panel per measure, whose height grows with the number of networks.
    """
    panels: dict[Measure, list[Group]] = {}
    for group in comparison.groups:
        panels.setdefault(group.measures[0], []).append(group)
    lines = [sum(len(group.arms) + 1 for group in groups) for groups in panels.values()]
    figure = Figure(figsize=(8.4, 0.9 * len(panels) + 0.34 * sum(lines)), layout="constrained")
    drawn = figure.subplots(len(panels), squeeze=False, height_ratios=lines)[:, 0]
    names = dict.fromkeys(name for group in comparison.groups for name in group.arms)
    colours = {name: arm_colour(place) for place, name in enumerate(names)}
    for axes, (measure, groups) in zip(drawn, panels.items(), strict=True):
        _draw_groups(axes, measure, groups, colours)
    return figure


def _draw_groups(
    axes: Axes, measure: Measure, groups: Sequence[Group], colours: Mapping[str, str]
) -> None:
    place, places, labels = 0, [], []
    for group in groups:
        axes.annotate(
            group.name,
            (0, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=10,
            fontweight="bold",
            color=INK,
        )
        for name, arm in group.arms.items():
            place += 1
            _draw_spread(axes, arm.measures[measure.name], place, colours[name])
            places.append(place)
            labels.append(arm.title)
        place += 1
    axes.set_yticks(places, labels)
    axes.set_ylim(place - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{measure.scale * value:.6g} {measure.unit}".rstrip())
    )
    axes.set_xlabel(f"{measure.title}; dots: seeds, tick: mean, bar: ± standard deviation")
    axes.xaxis.label.set_color(MUTED)


def _draw_spread(axes: Axes, spread: Spread, place: int, colour: str) -> None:
    axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
    if spread.std is not None:
        axes.hlines(
            place,
            spread.mean - spread.std,
            spread.mean + spread.std,
            color=colour,
            linewidth=7,
            alpha=0.22,
        )
    axes.vlines(spread.mean, place - 0.32, place + 0.32, color=colour, linewidth=2.2)
    axes.scatter(
        spread.values,
        [place] * len(spread.values),
        s=26,
        color=colour,
        alpha=0.75,
        linewidths=0,
        zorder=3,
    )


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write compare.json, compare.md, compare.svg and compare.png.

    Args:
        comparison: Of at least one run.
        folder: Made if it does not exist.

    Raises:
        RunError: If a file cannot be written.
    """
    with house_style():
        figure = comparison_figure(comparison)
    write_views(folder, comparison.plain(), markdown(comparison), figure)


def write_views(folder: Path, plain: Mapping[str, Any], text: str, figure: Figure) -> None:
    """Write compare.json, compare.md, compare.svg and compare.png.

    Args:
        folder: Made if it does not exist.
        plain: For the JSON.
        text: Markdown.
        figure: Drawn in the house style.

    Raises:
        RunError: If a file cannot be written.
    """
    write_json(folder / "compare.json", plain)
    write_file(folder / "compare.md", text)
    with house_style():
        for kind in ("svg", "png"):
            content = render(figure, kind, facecolor=PAPER, dpi=160)
            write_file(folder / f"compare.{kind}", content)


def written(measure: Measure, spread: Spread) -> str:
    """Write a measure over seeds: its mean, and the standard deviation where there is one."""
    finer = measure.finer()
    if spread.std is None:
        return finer.write(spread.mean)
    std = f"{finer.scale * spread.std:.{finer.digits}f}"
    return f"{finer.scale * spread.mean:.{finer.digits}f} ± {std} {measure.unit}".rstrip()


def _difference(measure: Measure, spread: Spread) -> str:
    return measure.finer().write_difference(spread.mean, spread.std)


def _machines(group: Group) -> str:
    known = [run["environment"] for run in group.runs]
    machines = dict.fromkeys(
        f"{e.get('accelerator') or e.get('processor', 'unknown')}, "
        f"torch {e.get('packages', {}).get('torch', 'unknown')}, "
        f"widthwise {e.get('widthwise', 'unknown')}"
        for e in known
    )
    return f"Trained on: {'; '.join(machines)}.\n"
