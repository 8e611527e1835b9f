"""On which keys two configurations differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One key on which two configurations differ."""

    key: str
    there: Any
    now: Any


def differences(there: Any, now: Any, key: str = "") -> list[Difference]:
    """List the keys on which two configurations differ.

    Args:
        there: Plain values.
        now: Plain values.
        key: Dotted name of the two.

    Returns:
        The differing leaves in order; a leaf that one side lacks is None there.

    Example:
        >>> [d.key for d in differences({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}})]
        ['a.c']
    """
    if isinstance(there, Mapping) and isinstance(now, Mapping):
        return [
            found
            for name in dict.fromkeys([*there, *now])
            for found in differences(
                there.get(name), now.get(name), f"{key}.{name}" if key else str(name)
            )
        ]
    return [] if there == now else [Difference(key=key, there=there, now=now)]
