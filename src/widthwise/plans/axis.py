"""What a plan does to one axis, and how a file says it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from widthwise.graph import Axis


@dataclass(frozen=True)
class AxisPlan:
    """What a plan does to one axis."""

    width: int
    """Units of the full network."""
    kept: tuple[int, ...]
    """Kept units, by their number within the axis, in order."""
    unit_size: int
    """Output channels of the axis' first layer that one unit takes."""
    tied: tuple[str, ...]
    """The tensor dims that are narrowed together, such as ``bn1.weight:0``."""

    @classmethod
    def of(cls, axis: Axis, kept: Sequence[int]) -> Self:
        """Plan to keep these units of an axis, by their number within it."""
        return cls(axis.width, tuple(kept), axis.unit_size, members_of(axis))

    def to_spec(self) -> dict[str, Any]:
        """Return plain values for JSON, with kept units as ranges: ``0-3,5,7-9``."""
        return {
            "width": self.width,
            "keeps": len(self.kept),
            "unit_size": self.unit_size,
            "kept": _to_ranges(self.kept),
            "tied": list(self.tied),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Self:
        """Read what `to_spec` returned.

        Args:
            spec: Plain values; not changed.

        Returns:
            What happens to the axis.

        Raises:
            ValueError: If the values contradict each other.
            KeyError: If one is missing.
        """
        width = int(spec["width"])
        kept = _from_ranges(spec["kept"], width)
        if not kept or kept[0] < 0 or kept[-1] >= width or len(kept) != spec["keeps"]:
            raise ValueError(f"{spec['keeps']} units, {spec['kept']!r}, are kept of {width}")
        return cls(width, kept, int(spec["unit_size"]), tuple(spec["tied"]))

    def differences(self, found: Axis | None) -> list[str]:
        """Return how the axis of a network differs from the one that this was planned for."""
        if found is None:
            return [f"{self.width} units in the plan, not in the network"]
        if found.width != self.width:
            return [f"{self.width} units in the plan, {found.width} in the network"]
        problems = []
        if found.unit_size != self.unit_size:
            problems.append(
                f"{self.unit_size} channels a unit in the plan, {found.unit_size} in the network"
            )
        here, there = set(members_of(found)), set(self.tied)
        if here != there:
            for names, where in ((there - here, "in the plan"), (here - there, "in the network")):
                if names:
                    problems.append(f"tied to {', '.join(sorted(names)[:4])} only {where}")
        if found.frozen is not None and len(self.kept) < self.width:
            problems.append(f"narrowed by the plan, and frozen here: {found.frozen}")
        return problems


def members_of(axis: Axis) -> tuple[str, ...]:
    """Return the tensor dims of an axis as a plan writes them, such as ``bn1.weight:0``."""
    return tuple(f"{tensor}:{dim}" for tensor, dim in axis.members)


def _to_ranges(numbers: Sequence[int]) -> str:
    """Write sorted numbers as ranges: ``0-3,5,7-9``."""
    parts: list[str] = []
    start = previous = None
    for number in [*numbers, None]:
        if previous is not None and (number is None or number != previous + 1):
            parts.append(str(start) if start == previous else f"{start}-{previous}")
            start = None
        start = number if start is None else start
        previous = number
    return ",".join(parts)


def _from_ranges(text: str, width: int) -> tuple[int, ...]:
    """Read what `_to_ranges` wrote; numbers must increase, and be below a width."""

    def parts() -> Iterable[int]:
        for part in text.split(","):
            first, _, last = part.partition("-")
            # Before they are listed: there may be more than fit into memory.
            if int(last or first) >= width:
                raise ValueError(f"{part[:60]!r} is kept of {width}")
            yield from range(int(first), int(last or first) + 1)

    numbers = tuple(parts())
    if list(numbers) != sorted(set(numbers)):
        raise ValueError(f"{text[:60]!r} does not increase")
    return numbers
