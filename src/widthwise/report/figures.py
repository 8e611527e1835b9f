"""Figures of a run over time, each from its record alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FuncFormatter,
    LogLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from widthwise.report.records import BEFORE_THE_CUT, TITLES, RunRecord
from widthwise.report.theme import FOUND, FULL, INK, L1, MUTED, SCRATCH, UNIFORM, new_figure

_SMALL = (5.4, 3.2)
"""Inches. Two such figures stand side by side on the page."""

COLOURS = {"found": FOUND, "full": FULL, "uniform": UNIFORM, "scratch": SCRATCH, "l1": L1}
"""Stage -> its colour in every figure."""

_LATENT_LINES = 12
"""Most epochs of a search whose latents are drawn; more lines cannot be told apart."""


def error_figure(record: RunRecord) -> Figure:
    """Draw the test error over all epochs, dotted until a network was cut.

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
    for stage in record.results:
        before = BEFORE_THE_CUT.get(stage)
        first = _errors(record, before, least) if before else []
        curve = _errors(record, stage, least)
        epochs = range(1, len(first) + len(curve) + 1)
        axes.plot(
            epochs[: len(first)],
            first,
            color=COLOURS[stage],
            linestyle="dotted",
            linewidth=1.8,
        )
        axes.plot(
            epochs[len(first) :],
            curve,
            color=COLOURS[stage],
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
    # Above the plot: curves of a short run fill all of it.
    figure.legend(
        loc="outside upper left",
        ncols=3,
        fontsize=8.5,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
    )
    return figure


def cost_figure(record: RunRecord) -> Figure:
    """Draw what a cut at the threshold would leave of MACs and parameters, over the search.

    Dots are the cost of the network that was found in the end.

    Args:
        record: A finished run.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    lines = record.lines("search")
    ends = [*(check["step"] for check in record.checks), *(int(line["step"]) for line in lines)]
    last = max(ends, default=1)
    drawn = _fractions(record, "macs_fraction"), _fractions(record, "params_fraction")
    for fractions, cost, colour, label in zip(
        drawn, ("macs", "params"), (FOUND, MUTED), ("MACs", "parameters"), strict=True
    ):
        if fractions:
            steps = [0, *(step for step, _ in fractions)]
            shares = [1.0, *(share for _, share in fractions)]
            axes.plot(steps, shares, color=colour, linewidth=1.8, label=label)
            share = record.search[cost] / record.full[cost]
            axes.plot([last], [share], "o", color=colour, markersize=5, clip_on=False)
    if any(drawn):
        axes.legend(loc="lower left", fontsize=9, frameon=False)
    else:
        steps = [0, *(check["step"] for check in record.checks)]
        shares = [1.0, *(check["cost_fraction"] for check in record.checks)]
        axes.step(steps, shares, where="post", color=FOUND, linewidth=1.8)
    if record.checks:
        _draw_budget(axes, record.checks[-1]["cost_fraction"] - record.checks[-1]["excess"])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_ylim(0, 1.04)
    axes.set_xlim(0, last * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.set_xlabel("search step")
    axes.set_ylabel("share of the full network")
    return figure


def latents_figure(record: RunRecord) -> Figure:
    """Draw the magnitudes of all latents in descending order, one line per epoch of the search.

    Of a long search only some epochs are drawn, evenly spaced, the first and the last among them.

    Args:
        record: A finished run with latents.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    epochs = _spread(len(record.latents), _LATENT_LINES)
    for place, epoch in enumerate(epochs, start=1):
        sizes = record.latents[epoch]
        axes.plot(
            range(1, len(sizes) + 1),
            sizes,
            color=FOUND,
            # Rounding must not lift the sum above 1.
            alpha=min(0.2 + 0.8 * place / len(epochs), 1.0),
            linewidth=1.8 if place == len(epochs) else 1.0,
            label=f"epoch {epoch + 1}" if place in (1, len(epochs)) else None,
        )
    axes.legend(loc="upper right", fontsize=9, frameon=False)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("units, largest latent first")
    axes.set_ylabel("latent magnitude")
    return figure


def _draw_budget(axes: Axes, budget: float) -> None:
    axes.axhline(budget, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    # Where a low budget leaves no room between its line and the legend, the text stands above.
    below = budget > 0.35
    axes.annotate(
        f"budget, {budget:.1%}",
        (0, budget),
        xytext=(4, -4 if below else 4),
        textcoords="offset points",
        va="top" if below else "bottom",
        fontsize=9,
    )


def _fractions(record: RunRecord, column: str) -> list[tuple[int, float]]:
    """Step and share at the end of every epoch of the search; older runs lack some columns."""
    return [
        (int(line["step"]), float(line[column]))
        for line in record.lines("search")
        if line.get(column)
    ]


def _spread(count: int, most: int) -> list[int]:
    """Choose up to ``most`` evenly spaced indices out of ``count``, the first and the last too."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _errors(record: RunRecord, stage: str, least: float) -> Sequence[float]:
    return [max(1 - float(line["test_accuracy"]), least) for line in record.lines(stage)]
