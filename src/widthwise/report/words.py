"""What a report says in sentences, and how it writes numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from widthwise.measures import Measure
from widthwise.report.records import RunRecord
from widthwise.runs.results import ArmResult, Results
from widthwise.runs.tags import tag


def name_of(record: RunRecord) -> str:
    """Name the found network of a run; see `tag`."""
    return tag(record.config, macs_fraction=record.found.macs / record.results.full.macs)


def headline(results: Results) -> str:
    """Say in one sentence what came out.

    Args:
        results: Of a finished run.

    Returns:
        Plain text.
    """
    found, full, measure = results.found, results.full, results.headline
    return (
        f"{measure.write(found.measures[measure.name])} {measure.title} with "
        f"{found.macs / full.macs:.1%} of the MACs and {found.params / full.params:.1%} of the "
        "parameters"
    )


def lead(results: Results) -> str:
    """Compare the found network with the others.

    A difference within its own uncertainty is called none.

    Args:
        results: Of a finished run.

    Returns:
        Plain text: how good a trained network was before, if one was given, and one sentence;
        empty if there is nothing to compare with.
    """
    parts = [_compared(results, other) for other in results.arms[1:]]
    text = f"{results.found.words.capitalize()} is {_listed(parts)}." if parts else ""
    if results.full.measures is None:
        return text
    measure = results.headline
    given = f"As given, your network has {measure.write(results.full.measures[measure.name])}."
    return f"{given} {text}".rstrip()


def certainty(results: Results) -> str:
    """Say how much a value and a difference of the headline mean.

    Args:
        results: Of a finished run.

    Returns:
        Sentences of plain text.
    """
    measure, items = results.headline, results.test_items
    error = results.uncertainty(measure, results.found)
    if error is None:
        return (
            f"Measured on {items:,} test items. How far a {measure.title} on these may be from "
            "that on others is not known, so no difference here is called large or small."
        )
    one = f"{measure.scale / items:.2g} {'points' if measure.unit == '%' else measure.unit}"
    about = measure.write_difference(error).lstrip("+")
    return (
        f"On {items:,} test items one of them is {one.rstrip()}. The {measure.title} is known to "
        f"about ±{about}; a difference within what it may be off (±) means nothing."
    )


def teaching(record: RunRecord) -> str:
    """Say who was distilled from whom; empty if nobody was.

    Args:
        record: A finished run.

    Returns:
        A sentence of plain text.
    """
    taught = [arm for arm in record.results.arms if arm.teacher is not None]
    if not taught:
        return ""
    teacher = next(arm for arm in record.results.arms if arm.arm == taught[0].teacher)
    stage = record.config["converge"]
    return (
        f"{_listed([arm.title for arm in taught])} learned from {teacher.words} too: distillation "
        f"with weight {stage['distil']:g} at temperature {stage['temperature']:g}."
    )


def count(number: int) -> str:
    """Write a large number in three digits.

    Args:
        number: Not negative.

    Returns:
        With ``k``, ``M`` or ``G`` for thousands, millions and billions.

    Example:
        >>> count(40_813_184)
        '40.8 M'
    """
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        # What rounds to 1000 of one unit is 1 of the next.
        if number >= 0.9995 * size:
            return f"{number / size:.3g} {unit}"
    return str(number)


def duration(seconds: float) -> str:
    """Write a time in the two largest of its units.

    Args:
        seconds: The time.

    Returns:
        With its units.

    Example:
        >>> duration(42), duration(754), duration(9000)
        ('42 s', '12 min 34 s', '2 h 30 min')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def milliseconds(time: float) -> str:
    """Write a time of milliseconds with three digits.

    Args:
        time: In milliseconds.

    Returns:
        With its unit.

    Example:
        >>> milliseconds(0.1234), milliseconds(12.34), milliseconds(1234.5)
        ('0.123 ms', '12.3 ms', '1230 ms')
    """
    digits = max(2 - math.floor(math.log10(time)), 0) if time > 0 else 0
    return f"{float(f'{time:.3g}'):.{digits}f} ms"


def _compared(results: Results, other: ArmResult) -> str:
    measure, found = results.headline, results.found
    difference = found.measures[measure.name] - other.measures[measure.name]
    error = results.uncertain_difference(measure, found, other)
    text = measure.write_difference(difference, error)
    if _is_level(measure, difference, error):
        return f"level with {other.words} ({text})"
    text = f"{text[1:]} {'above' if difference > 0 else 'below'} {other.words}"
    if measure.higher_is_better:
        return text
    # Nobody expects it of a number that is below another.
    gain = measure.gain(found.measures[measure.name], other.measures[measure.name])
    return f"{text} ({'better' if gain > 0 else 'worse'})"


def _is_level(measure: Measure, difference: float, error: float | None) -> bool:
    return measure.is_level(difference, 0.0 if error is None else error)


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
