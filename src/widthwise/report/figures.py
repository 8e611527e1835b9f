"""Figures of a run, each from its record alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from widthwise.report.records import TITLES, RunRecord
from widthwise.report.theme import FOUND, FULL, GRID, INK, MUTED, PALE, SCRATCH, UNIFORM, new_figure

_SMALL = (5.4, 3.2)
"""Inches. Two such figures stand side by side on the page."""

_COLOURS = {"found": FOUND, "search": FOUND, "full": FULL, "uniform": UNIFORM, "scratch": SCRATCH}


def widths_figure(
    full: Mapping[str, int], found: Mapping[str, int], uniform: Mapping[str, int] | None
) -> Figure:
    """Draw the widths of all axes before and after, one bar per axis.

    Args:
        full: Axis -> width in the full network.
        found: Axis -> width that was found.
        uniform: Axis -> width in the uniformly narrowed network, if there is one.

    Returns:
        A figure whose height grows with the number of axes.
    """
    names = list(full)
    rows = range(len(names))
    figure, axes = new_figure(10.4, 1.25 + 0.27 * len(names))
    axes.barh(rows, [full[n] for n in names], height=0.72, color=PALE)
    axes.barh(rows, [found[n] for n in names], height=0.72, color=FOUND)
    handles: list[Artist] = [Patch(color=FOUND, label="found"), Patch(color=PALE, label="full")]
    if uniform is not None:
        axes.vlines(
            [uniform[n] for n in names],
            [row - 0.44 for row in rows],
            [row + 0.44 for row in rows],
            color=UNIFORM,
            linewidth=2.2,
        )
        handles.append(
            Line2D([], [], color=UNIFORM, linewidth=2.2, label="uniform at the same MACs")
        )
    room = max(full.values()) * 0.012
    for row, name in zip(rows, names, strict=True):
        text = f"{found[name]} of {full[name]}"
        axes.text(full[name] + room, row, text, va="center", fontsize=8.5, color=MUTED)
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
    figure.legend(
        handles=handles, loc="outside upper left", ncols=len(handles), fontsize=9.5, frameon=False
    )
    return figure


def error_figure(record: RunRecord) -> Figure:
    """Draw the test error over all epochs; the found network's begin with the search.

    The scale is logarithmic, because the first epochs are near chance and the last ones differ by
    single images.

    Args:
        record: A finished run.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    # Half an image in place of none: a logarithm has no zero.
    least = 0.5 / record.search["test_images"]
    curves = {stage: _errors(record, stage, least) for stage in ("search", *record.results)}
    searched = len(curves["search"])
    for stage, curve in curves.items():
        first = searched if stage == "found" else 0
        epochs = range(first + 1, first + len(curve) + 1)
        axes.plot(
            epochs,
            curve,
            color=_COLOURS[stage],
            linestyle="dotted" if stage == "search" else "solid",
            linewidth=1.8,
            label=TITLES[stage],
        )
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
    axes.set_xlabel("epoch")
    axes.set_ylabel("test error, log scale")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(loc="upper right", fontsize=9, frameon=False)
    return figure


def cost_figure(record: RunRecord) -> Figure:
    """Draw the cost that a cut at the threshold would leave, over the steps of the search.

    Args:
        record: A finished run.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    steps = [0, *(check["step"] for check in record.checks)]
    cost = [1.0, *(check["cost_fraction"] for check in record.checks)]
    axes.step(steps, cost, where="post", color=FOUND, linewidth=1.8, label="cut at the threshold")
    last = record.checks[-1]["step"] if record.checks else 1
    for check in record.checks[-1:]:
        budget = check["cost_fraction"] - check["excess"]
        axes.axhline(budget, color=INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            f"budget, {budget:.1%}",
            (0, budget),
            xytext=(4, -4),
            textcoords="offset points",
            va="top",
            fontsize=9,
        )
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(0, 1.04)
    axes.set_xlim(0, last * 1.02)
    axes.set_xlabel("search step")
    axes.set_ylabel("cost, share of the full network")
    return figure


def latents_figure(record: RunRecord) -> Figure:
    """Draw the magnitudes of all latents in descending order, one line per epoch of the search.

    Args:
        record: A finished run.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    count = len(record.latents)
    for epoch, sizes in enumerate(record.latents):
        axes.plot(
            range(1, len(sizes) + 1),
            sizes,
            color=FOUND,
            # Rounding must not lift the sum above 1.
            alpha=min(0.2 + 0.8 * (epoch + 1) / count, 1.0),
            linewidth=1.8 if epoch == count - 1 else 1.0,
        )
    middle = len(record.latents[0]) // 3
    for epoch, label, up in ((0, "first epoch", True), (count - 1, "last epoch", False)):
        axes.annotate(
            label,
            (middle, record.latents[epoch][middle]),
            xytext=(4, 4) if up else (-4, -4),
            textcoords="offset points",
            fontsize=9,
            ha="left" if up else "right",
            va="bottom" if up else "top",
        )
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("units, largest latent first")
    axes.set_ylabel("latent magnitude")
    return figure


def _errors(record: RunRecord, stage: str, least: float) -> Sequence[float]:
    rows = [row for row in record.epochs if row["stage"] == stage]
    return [max(1 - float(row["test_accuracy"]), least) for row in rows]
