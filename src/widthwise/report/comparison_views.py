"""A comparison of runs as a table, as a figure, and as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from widthwise.report.comparison import Comparison, Group, Spread
from widthwise.report.figures import COLOURS
from widthwise.report.records import TITLES
from widthwise.report.theme import GRID, INK, MUTED, PAPER, house_style, new_figure, render
from widthwise.report.words import count, points
from widthwise.runs import write_file, write_json

COLUMNS = ("Network", "Test accuracy", "Found minus it", "MACs", "Parameters", "Epochs")
"""Of the table of one group."""


def rows(group: Group) -> Iterator[tuple[str, ...]]:
    """Write the table of one group.

    Args:
        group: Runs of one configuration.

    Yields:
        One text per column of `COLUMNS`, for each network.
    """
    for stage, summary in group.stages.items():
        yield (
            TITLES[stage],
            _accuracy(summary.accuracy),
            "" if summary.found_minus is None else _difference(summary.found_minus),
            f"{count(round(summary.macs))} ({summary.macs_fraction:.1%})",
            f"{count(round(summary.params))} ({summary.params_fraction:.1%})",
            f"{summary.epochs:.1f}".removesuffix(".0"),
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
        table = [COLUMNS, ("---", *["--:"] * (len(COLUMNS) - 1)), *rows(group)]
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


def accuracy_figure(comparison: Comparison) -> Figure:
    """Draw the accuracy of every network: a dot per seed, a tick at the mean, a bar of ± std.

    Args:
        comparison: Of at least one run.

    Returns:
        A figure whose height grows with the number of networks.
    """
    lines = sum(len(group.stages) + 1 for group in comparison.groups)
    figure, axes = new_figure(8.4, 0.9 + 0.34 * lines)
    place, places, labels = 0, [], []
    for group in comparison.groups:
        axes.annotate(
            group.name,
            (0, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=10,
            fontweight="bold",
            color=INK,
        )
        for stage, summary in group.stages.items():
            place += 1
            accuracy, colour = summary.accuracy, COLOURS[stage]
            axes.axhline(place, color=GRID, linewidth=0.8, zorder=0)
            if accuracy.std is not None:
                axes.hlines(
                    place,
                    accuracy.mean - accuracy.std,
                    accuracy.mean + accuracy.std,
                    color=colour,
                    linewidth=7,
                    alpha=0.22,
                )
            axes.vlines(accuracy.mean, place - 0.32, place + 0.32, color=colour, linewidth=2.2)
            axes.scatter(
                accuracy.values,
                [place] * len(accuracy.values),
                s=26,
                color=colour,
                alpha=0.75,
                linewidths=0,
                zorder=3,
            )
            places.append(place)
            labels.append(TITLES[stage])
        place += 1
    axes.set_yticks(places, labels)
    axes.set_ylim(place - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.06)
    axes.xaxis.set_major_locator(MaxNLocator(7))
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("test accuracy; dots: seeds, tick: mean, bar: ± standard deviation")
    axes.xaxis.label.set_color(MUTED)
    return figure


def write_comparison(comparison: Comparison, folder: Path) -> None:
    """Write compare.json, compare.md, compare.svg and compare.png.

    Args:
        comparison: Of at least one run.
        folder: Made if it does not exist.

    Raises:
        RunError: If a file cannot be written.
    """
    write_json(folder / "compare.json", comparison.plain())
    write_file(folder / "compare.md", markdown(comparison))
    with house_style():
        figure = accuracy_figure(comparison)
        for kind in ("svg", "png"):
            content = render(figure, kind, facecolor=PAPER, dpi=160)
            write_file(folder / f"compare.{kind}", content)


def _accuracy(spread: Spread) -> str:
    if spread.std is None:
        return f"{spread.mean:.2%}"
    return f"{100 * spread.mean:.2f} ± {100 * spread.std:.2f}%"


def _difference(spread: Spread) -> str:
    mean = points(spread.mean, 2)
    if spread.std is None:
        return mean
    return f"{mean.removesuffix(' points')} ± {100 * spread.std:.2f} points"


def _machines(group: Group) -> str:
    known = [run["environment"] for run in group.runs]
    machines = dict.fromkeys(
        f"{e.get('accelerator') or e.get('processor', 'unknown')}, "
        f"torch {e.get('packages', {}).get('torch', 'unknown')}, "
        f"widthwise {e.get('widthwise', 'unknown')}"
        for e in known
    )
    return f"Trained on: {'; '.join(machines)}.\n"
