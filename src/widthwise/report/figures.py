"""Figures of a run over time, each from its record alone."""

from __future__ import annotations

from typing import Any

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

from widthwise.measures import Measure
from widthwise.report.records import Curves, RunRecord
from widthwise.report.theme import FOUND, INK, MUTED, arm_colour, new_figure

_SMALL = (5.4, 3.2)
"""Inches. Two such figures stand side by side on the page."""

_LINES = 12
"""Most epochs of a search whose importance is drawn; more lines cannot be told apart."""


def measure_figure(record: RunRecord, measure: Measure) -> Figure:
    """Draw a measure over all epochs, dotted until a network was cut.

    A share of test items that are right is drawn as the share that are wrong, on a logarithmic
    scale: the first epochs are near chance and the last ones differ by single items. Any other
    measure is drawn as it is.

    Args:
        record: A finished run.
        measure: One of its measures.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    for place, arm in enumerate(record.results.arms):
        before = [] if arm.before is None else record.curve(arm.before.stage, measure)
        drawn = [_drawn(record, measure, value) for value in before]
        curve = [_drawn(record, measure, value) for value in record.curve(arm.arm, measure)]
        epochs = range(1, len(drawn) + len(curve) + 1)
        style: dict[str, Any] = {"color": arm_colour(place), "linewidth": 1.8}
        axes.plot(epochs[: len(drawn)], drawn, linestyle="dotted", **style)
        axes.plot(epochs[len(drawn) :], curve, label=arm.title, **style)
    if measure.is_share:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.set_ylabel("test error, log scale")
    else:
        axes.yaxis.set_major_formatter(
            FuncFormatter(lambda value, _: f"{measure.scale * value:.6g}")
        )
        unit = f" ({measure.unit})" if measure.unit else ""
        axes.set_ylabel(f"{measure.title}{unit}")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend(figure)
    return figure


def measure_title(measure: Measure) -> str:
    """Name what `measure_figure` draws."""
    return "Test error" if measure.is_share else measure.title[:1].upper() + measure.title[1:]


def curves_figure(record: RunRecord, curves: Curves) -> Figure:
    """Draw curves of all networks over the test items.

    Args:
        record: A finished run.
        curves: One of its `curves`.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    for place, arm in enumerate(record.results.arms):
        shares = curves.lines.get(arm.title)
        if shares is not None:
            axes.plot(
                curves.places, shares, color=arm_colour(place), linewidth=1.8, label=arm.title
            )
    axes.set_ylim(0, 1.02)
    axes.set_xlim(curves.places[0], curves.places[-1])
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_xlabel(curves.across)
    axes.set_ylabel(curves.up)
    _legend(figure)
    return figure


def cost_figure(record: RunRecord) -> Figure:
    """Draw what a cut at the threshold would leave of MACs and parameters, over the search.

    Dots are the cost of the network that was found in the end.

    Args:
        record: A finished run whose widths were searched for in training.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    lines = record.searched()
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
            share = getattr(record.found, cost) / getattr(record.results.full, cost)
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


def importance_figure(record: RunRecord) -> Figure:
    """Draw the importance of all units in descending order, one line per epoch of the search.

    Of a long search only some epochs are drawn, evenly spaced, the first and the last among them.

    Args:
        record: A finished run with importance.

    Returns:
        The figure.
    """
    figure, axes = new_figure(*_SMALL)
    epochs = _spread(len(record.importance), _LINES)
    for place, epoch in enumerate(epochs, start=1):
        curve = record.importance[epoch]
        axes.plot(
            np.linspace(1, curve.units, len(curve.values)),
            curve.values,
            color=FOUND,
            # Rounding must not lift the sum above 1.
            alpha=min(0.2 + 0.8 * place / len(epochs), 1.0),
            linewidth=1.8 if place == len(epochs) else 1.0,
            label=f"epoch {epoch + 1}" if place in (1, len(epochs)) else None,
        )
    axes.legend(loc="upper right", fontsize=9, frameon=False)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("units, the most important first")
    axes.set_ylabel("importance")
    return figure


def _legend(figure: Figure) -> None:
    """Name the networks above the plot: curves of a short run fill all of it."""
    figure.legend(
        loc="outside upper left",
        ncols=3,
        fontsize=8.5,
        frameon=False,
        handlelength=1.2,
        columnspacing=1.2,
    )


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
    """Step and share at the end of every epoch of the search."""
    return [
        (int(line["step"]), float(line[column])) for line in record.searched() if line.get(column)
    ]


def _spread(count: int, most: int) -> list[int]:
    """Choose up to ``most`` evenly spaced indices out of ``count``, the first and the last too."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int)).tolist()


def _drawn(record: RunRecord, measure: Measure, value: float) -> float:
    if measure.is_share:
        # Half an item in place of none: a logarithm has no zero.
        return max(1 - value, 0.5 / record.results.test_items)
    return value
