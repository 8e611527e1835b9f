"""Exact cost of any plan: sums of products of kept counts, evaluated without building anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from widthwise.rules import Ids, UnitNumbers


@dataclass(frozen=True)
class Cost:
    """``coefficient x product over factors of the number of kept indices``.

    Factors are ids as a pass writes them down, and unit numbers in a graph.
    """

    coefficient: int
    factors: tuple[Ids | UnitNumbers, ...]


class CostTable:
    """A sum of ``coefficient x product of kept counts``, ready for many evaluations.

    Args:
        costs: The terms; their factors are unit numbers, one per index.
        unit_count: Number of units.
    """

    def __init__(self, costs: Sequence[Cost], unit_count: int) -> None:
        # Imported here: half of the time that `import widthwise` would take.
        from scipy.sparse import csr_array

        factors: dict[bytes, int] = {}
        rows: list[UnitNumbers] = []
        # Terms that count the same factors are one term.
        merged: dict[tuple[int, ...], int] = {}
        for cost in costs:
            key = []
            for units in cost.factors:
                units = np.ascontiguousarray(units)
                text = units.tobytes()
                if text not in factors:
                    factors[text] = len(rows)
                    rows.append(units)
                key.append(factors[text])
            merged[tuple(sorted(key))] = merged.get(tuple(sorted(key)), 0) + cost.coefficient
        width = max((len(key) for key in merged), default=0)
        one = len(rows)
        self._coefficients = np.array(list(merged.values()), np.int64)
        self._terms = np.array([[*key, *[one] * (width - len(key))] for key in merged], np.int64)
        self._terms = self._terms.reshape(len(merged), width)
        pointers = np.cumsum([0, *(len(units) for units in rows)])
        columns = np.concatenate(rows) if rows else np.empty(0, np.int64)
        self._counts = csr_array(
            (np.ones(len(columns), np.int64), columns, pointers), shape=(len(rows), unit_count)
        )

    def total(self, kept: np.ndarray) -> int:
        """Return the cost when only some units are kept. ``kept`` is bool, shape ``[units]``."""
        counts = np.append(self._counts @ kept.astype(np.int64), 1)
        return int((counts[self._terms].prod(axis=1) * self._coefficients).sum())
