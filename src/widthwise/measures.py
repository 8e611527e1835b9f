"""A measure: one number that a task reports, and how to write and compare it.

A measure travels in the run folder as plain values, so that reports know titles, directions and
uncertainties without knowing any task.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from widthwise.errors import RunError


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One number that a task reports about a network.

    Example:
        >>> accuracy = Measure(name="accuracy", title="test accuracy", unit="%", scale=100)
        >>> accuracy.write(0.9217), accuracy.write_difference(-0.0042)
        ('92.2 %', '−0.4 points')
        >>> accuracy.write_difference(0.0042, 0.006), accuracy.is_level(0.0042, 0.006)
        ('+0.4 ± 0.6 points', True)
        >>> Measure(name="psnr", title="PSNR", unit="dB", digits=2).write(27.5312)
        '27.53 dB'
    """

    name: str
    """Key in results.json; the column of metrics.csv is ``test_<name>``."""
    title: str
    """What people call it, such as ``test accuracy``."""
    unit: str = ""
    """Such as ``%`` or ``dB``; empty for a pure number."""
    higher_is_better: bool = True
    """Whether more is better."""
    digits: int = 1
    """Digits after the decimal point worth showing."""
    scale: float = 1.0
    """What a stored value is multiplied by to be shown: 100 for a share shown in percent."""
    is_share: bool = False
    """Whether it is the share of test items that are right: then its uncertainty is known."""

    def write(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{self.scale * value:.{self.digits}f} {self.unit}".rstrip()

    def write_difference(self, difference: float, uncertain: float | None = None) -> str:
        """Write a difference of two values with its sign and unit; percent become points.

        Args:
            difference: Of two values as stored.
            uncertain: How far it may be off; left out if None.

        Returns:
            Such as ``−0.4 points``, or ``+0.4 ± 0.6 points``.
        """
        unit = "points" if self.unit == "%" else self.unit
        rounded = self._shown(difference)
        about = "" if uncertain is None else f" ± {self._shown(uncertain):.{self.digits}f}"
        text = f"{abs(rounded):.{self.digits}f}{about} {unit}".rstrip()
        return f"{'+' if rounded > 0 else '−'}{text}" if rounded else text

    def is_level(self, difference: float, uncertain: float) -> bool:
        """Tell whether a difference is within what it may be off, by the digits that are shown."""
        return abs(self._shown(difference)) <= self._shown(uncertain)

    def finer(self) -> Measure:
        """Return the same measure written with one digit more, for tables."""
        return replace(self, digits=self.digits + 1)

    def _shown(self, value: float) -> float:
        return round(self.scale * value, self.digits)

    def gain(self, value: float, other: float) -> float:
        """Return by how much a value is better than another; negative if it is worse."""
        return value - other if self.higher_is_better else other - value

    def uncertainty(self, value: float, count: int) -> float | None:
        """Say how far a value on so many test items may be from that on all such items.

        Args:
            value: The value, as stored.
            count: Number of test items.

        Returns:
            Half the width of Wilson's 95 % interval for a share, which holds near 0 and 1 too; None
            where nothing is known.

        Example:
            >>> share = Measure(name="accuracy", title="test accuracy", is_share=True)
            >>> round(share.uncertainty(0.92, 10_000), 4)
            0.0053
        """
        if not self.is_share:
            return None
        z = 1.96
        spread = value * (1 - value) / count + (z / (2 * count)) ** 2
        return z * math.sqrt(spread) / (1 + z**2 / count)

    def to_spec(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Measure:
        """Read what `to_spec` returned.

        Args:
            spec: Plain values; keys of later versions are ignored.

        Returns:
            The measure.

        Raises:
            RunError: If name or title is missing.
        """
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{key: value for key, value in spec.items() if key in known})
        except TypeError as error:
            raise RunError(f"A measure of this run cannot be read: {error}") from error
