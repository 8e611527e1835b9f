"""What a report says in sentences, and how it writes numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from widthwise.export.tags import tag
from widthwise.report.records import RunRecord

_OTHERS = {
    "full": "the full network",
    "uniform": "uniform widths at the same MACs",
    "scratch": "the same widths with fresh weights",
    "l1": "a one-shot cut by L1 magnitude",
}
"""Stage -> the network it trains, in the middle of a sentence."""


def name_of(record: RunRecord) -> str:
    """Name the found network of a run; see `tag`."""
    fraction = record.found["macs"] / record.full["macs"]
    return tag(record.config, macs_fraction=fraction)


def headline(record: RunRecord) -> str:
    """Say in one sentence what came out.

    Args:
        record: A finished run.

    Returns:
        Plain text.
    """
    found, full = record.found, record.full
    return (
        f"{found['accuracy']:.1%} accuracy with {found['macs'] / full['macs']:.1%} of the MACs "
        f"and {found['params'] / full['params']:.1%} of the parameters"
    )


def lead(record: RunRecord) -> str:
    """Compare the found network with the others.

    A difference within the uncertainty of differences is called none.

    Args:
        record: A finished run.

    Returns:
        A sentence of plain text; empty if there is nothing to compare with.
    """
    accuracy = record.found["accuracy"]
    error = difference_uncertainty(record)
    differences = {
        words: accuracy - record.results[stage]["accuracy"]
        for stage, words in _OTHERS.items()
        if stage in record.results
    }
    parts = [_compared(words, difference, error) for words, difference in differences.items()]
    return f"The found network is {_listed(parts)}." if parts else ""


def uncertainty(accuracy: float, images: int) -> float:
    """Say how far the accuracy on so many images may be from that on all such images.

    Args:
        accuracy: In [0, 1].
        images: Number of test images.

    Returns:
        Half the width of Wilson's 95 % interval, which holds near 100 % too.

    Example:
        >>> round(uncertainty(0.92, 10_000), 4)
        0.0053
    """
    z = 1.96
    spread = accuracy * (1 - accuracy) / images + (z / (2 * images)) ** 2
    return z * math.sqrt(spread) / (1 + z**2 / images)


def difference_uncertainty(record: RunRecord) -> float:
    """Say how far a difference from the found network may be off: two accuracies, each uncertain.

    Networks that err on the same images differ more surely than that; it is an upper bound.

    Args:
        record: A finished run.

    Returns:
        A fraction in [0, 1].
    """
    return math.sqrt(2) * uncertainty(record.found["accuracy"], record.search["test_images"])


def points(difference: float, digits: int = 1) -> str:
    """Write a difference of accuracies with its sign.

    Args:
        difference: Of fractions in [0, 1].
        digits: After the decimal point.

    Returns:
        Percentage points.

    Example:
        >>> points(-0.0123), points(0.00001)
        ('−1.2 points', '0.0 points')
    """
    rounded = round(100 * difference, digits)
    text = f"{abs(rounded):.{digits}f} points"
    return f"{'+' if rounded > 0 else '−'}{text}" if rounded else text


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


def _compared(words: str, difference: float, error: float) -> str:
    if abs(difference) <= error:
        return f"level with {words} ({points(difference)})"
    return f"{abs(100 * difference):.1f} points {'above' if difference > 0 else 'below'} {words}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
