"""A contest of methods as tables, as a figure, and as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter

from widthwise.measures import Measure
from widthwise.report.comparison_views import write_views, written
from widthwise.report.contest import Contender, Contest, Difference, Level
from widthwise.report.theme import arm_colour, arm_marker, house_style, panel


def columns(contest: Contest) -> tuple[str, ...]:
    """Name the columns of the table of one budget."""
    title = contest.measure.title
    return (
        "Network",
        "Weights",
        "Seeds",
        title[:1].upper() + title[1:],
        f"Minus {contest.reference.lower()}",
        "p",
        "MACs",
        *(("Milliseconds",) if timed(contest) else ()),
        "Parameters",
        "Epochs",
    )


def rows(contest: Contest, level: Level) -> Iterator[tuple[str, ...]]:
    """Write the table of one budget.

    Args:
        contest: Whose level it is.
        level: Contenders at one budget.

    Yields:
        One text per column of `columns`, for each network, the best first.
    """
    for contender in level.contenders:
        minus = contender.minus_reference
        yield (
            contender.title,
            contender.weights,
            str(len(contender.seeds)),
            written(contest.measure, contender.headline),
            "" if minus is None else _interval(contest.measure, minus),
            "" if minus is None or minus.p is None else _probability(minus.p),
            f"{contender.macs_fraction:.1%}",
            *((_milliseconds(contender),) if timed(contest) else ()),
            f"{contender.params_fraction:.1%}",
            f"{contender.epochs:.1f}".removesuffix(".0"),
        )


def timed(contest: Contest) -> bool:
    """Whether milliseconds are known of any network."""
    return any(c.milliseconds is not None for level in contest.levels for c in level.contenders)


def verdict(contest: Contest, level: Level) -> str:
    """Say in a sentence what a table shows, and what it could not have shown.

    Args:
        contest: Whose level it is.
        level: Contenders at one budget.

    Returns:
        Plain text.
    """
    compared = [c for c in level.contenders if c.minus_reference is not None]
    apart = [c for c in compared if c.minus_reference is not None and c.minus_reference.told_apart]
    if not compared:
        return f"Nothing is compared: no run at this budget has {contest.reference.lower()}."
    if not apart:
        seen = [_half(c) for c in compared]
        widest = max((half for half in seen if half is not None), default=None)
        if widest is None:
            return "One seed each: no difference can be told from luck."
        shown = contest.measure.write_difference(widest).removeprefix("+")
        return (
            f"None of {len(compared)} can be told from {contest.reference.lower()}; differences "
            f"of less than {shown} could not have been."
        )
    return (
        "Told from "
        + contest.reference.lower()
        + ": "
        + ", ".join(f"{c.title} ({_better(contest.measure, c)})" for c in apart)
        + "."
    )


def markdown(contest: Contest) -> str:
    """Write a contest as Markdown.

    Args:
        contest: Of at least one run.

    Returns:
        A heading, a table and a verdict for each budget, then what has to be known.
    """
    parts = [f"## {contest.name}\n"]
    for level in contest.levels:
        header = columns(contest)
        table = [header, ("---", "---", *["--:"] * (len(header) - 2)), *rows(contest, level)]
        lines = ["| " + " | ".join(row) + " |" for row in table]
        parts.append(f"### {level.budget}\n\n" + "\n".join(lines) + "\n")
        parts.append(verdict(contest, level) + "\n")
    parts.append(explanation(contest) + "\n")
    parts += [f"- {note}" for note in contest.notes]
    return "\n".join(parts).rstrip() + "\n"


def explanation(contest: Contest) -> str:
    """Say how the numbers of a table were made."""
    title = contest.measure.title
    return (
        f"{title[:1].upper() + title[1:]} after the last epoch: mean ± standard deviation over "
        "seeds. In brackets, Welch's 95 % interval of the difference; p by Welch's test with "
        "Holm's correction for all networks of one table."
    )


def contest_figure(contest: Contest) -> Figure:
    """Draw the headline against MACs, and milliseconds where known: a line per network.

    Args:
        contest: Of at least one run.

    Returns:
        The figure; bars are standard deviations over seeds.
    """
    measure = contest.measure
    panels = 2 if timed(contest) else 1
    figure = Figure(figsize=(5.4 * panels + 3, 4.4), layout="constrained")
    drawn = [panel(figure, panels, number) for number in range(panels)]
    _draw(drawn[0], contest, lambda contender: contender.macs_fraction)
    drawn[0].xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    drawn[0].set_xlabel("MACs of the full network that are left")
    unit = f" ({measure.unit})" if measure.unit else ""
    drawn[0].set_ylabel(f"{measure.title}{unit}")
    if panels == 2:
        _draw(drawn[1], contest, lambda contender: contender.milliseconds)
        drawn[1].set_xlabel("milliseconds for one input")
    handles, names = drawn[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=9, frameon=False)
    return figure


def _draw(axes: Axes, contest: Contest, across: Callable[[Contender], float | None]) -> None:
    measure = contest.measure
    names = dict.fromkeys(c.title for level in contest.levels for c in level.contenders)
    for place, name in enumerate(names):
        every = [c for level in contest.levels for c in level.contenders if c.title == name]
        points = sorted(
            (place, c.headline.mean, c.headline.std or 0.0)
            for c in every
            for place in [across(c)]
            if place is not None
        )
        axes.errorbar(
            [point[0] for point in points],
            [point[1] for point in points],
            yerr=[point[2] for point in points],
            color=arm_colour(place),
            label=name,
            marker=arm_marker(place),
            markersize=5,
            linewidth=1.6,
            capsize=3,
        )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{measure.scale * value:.6g}"))


def write_contest(contest: Contest, folder: Path) -> None:
    """Write compare.json, compare.md, compare.svg and compare.png.

    Args:
        contest: Of at least one run.
        folder: Made if it does not exist.

    Raises:
        RunError: If a file cannot be written.
    """
    with house_style():
        figure = contest_figure(contest)
    write_views(folder, contest.plain(), markdown(contest), figure)


def _interval(measure: Measure, minus: Difference) -> str:
    finer = measure.finer()
    text = finer.write_difference(minus.mean)
    if minus.low is None or minus.high is None:
        return text
    low, high = (f"{finer.scale * end:+.{finer.digits}f}" for end in (minus.low, minus.high))
    return f"{text} [{low}, {high}]".replace("-", "−")


def _milliseconds(contender: Contender) -> str:
    return "" if contender.milliseconds is None else f"{contender.milliseconds:.3g}"


def _probability(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def _half(contender: Contender) -> float | None:
    minus = contender.minus_reference
    if minus is None or minus.low is None or minus.high is None:
        return None
    return (minus.high - minus.low) / 2


def _better(measure: Measure, contender: Contender) -> str:
    minus = contender.minus_reference
    assert minus is not None
    return "better" if (minus.mean > 0) == measure.higher_is_better else "worse"
