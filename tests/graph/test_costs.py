"""A table of costs is the sum of its terms, for any choice of units."""

from __future__ import annotations

import numpy as np
import pytest

from widthwise.graph.costs import Cost, CostTable

A, B, REPEATED = np.array([0, 1, 2]), np.array([3, 4]), np.array([0, 0, 1, 1])
EVERYTHING = np.ones(6, bool)


def keep(*units: int) -> np.ndarray:
    """The mask of some of six units."""
    return np.isin(np.arange(6), units)


def test_terms_are_products_of_kept_counts() -> None:
    """Coefficient times what is kept of each factor; a unit counts as often as it occurs."""
    table = CostTable([Cost(10, (A, B)), Cost(3, (REPEATED,)), Cost(7, ())], 6)
    assert table.total(EVERYTHING) == 10 * 3 * 2 + 3 * 4 + 7
    assert table.total(keep(0, 3, 4)) == 10 * 1 * 2 + 3 * 2 + 7
    assert table.total(keep(2, 5)) == 7


def test_terms_of_the_same_factors_are_added_in_any_order() -> None:
    """A product and the same one turned around are one term of both coefficients."""
    apart = CostTable([Cost(2, (A, B)), Cost(5, (B, A))], 6)
    together = CostTable([Cost(7, (A, B))], 6)
    for mask in (EVERYTHING, keep(0, 1, 3), keep(2, 4)):
        assert apart.total(mask) == together.total(mask)
    assert apart._terms.shape == (1, 2)


def test_a_square_is_a_square() -> None:
    """One factor twice counts twice."""
    assert CostTable([Cost(1, (A, A))], 6).total(keep(0, 1)) == 4


def test_no_terms_cost_nothing() -> None:
    """An empty table costs nothing, with any number of units."""
    assert CostTable([], 6).total(EVERYTHING) == 0
    assert CostTable([], 0).total(np.empty(0, bool)) == 0


@pytest.mark.parametrize("seed", range(5))
def test_random_tables_are_what_adding_up_gives(seed: int) -> None:
    """Terms of up to four factors, at random, against the sum written out."""
    random = np.random.default_rng(seed)
    costs = [
        Cost(
            int(random.integers(1, 1000)),
            tuple(random.integers(0, 6, random.integers(1, 5)) for _ in range(random.integers(5))),
        )
        for _ in range(20)
    ]
    kept = random.random(6) < 0.5
    expected = sum(
        cost.coefficient * int(np.prod([kept[units].sum() for units in cost.factors]))
        for cost in costs
    )
    assert CostTable(costs, 6).total(kept) == expected
