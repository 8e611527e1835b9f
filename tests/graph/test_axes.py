"""Connected components of ties."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from widthwise.graph.axes import _components
from widthwise.graph.recording.ledger import PassLedger


def expected(size: int, ties: list[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    """The components as SciPy numbers them."""
    rows = np.concatenate([a for a, _ in ties])
    columns = np.concatenate([b for _, b in ties])
    pairs = coo_array((np.ones(len(rows)), (rows, columns)), shape=(size, size))
    return np.asarray(connected_components(pairs, directed=False)[1])


@pytest.mark.parametrize("seed", range(20))
def test_components_are_those_of_scipy(seed: int) -> None:
    """Random ties, long chains among them, give the components and the numbers that SciPy gives."""
    random = np.random.default_rng(seed)
    size = 200
    ledger = PassLedger(id_count=size)
    own = [(random.integers(0, size, 9), random.integers(0, size, 9)) for _ in range(seed)]
    chain = random.permutation(size)[: 20 * (seed % 4) + 1]
    own.append((chain[:-1], chain[1:]))
    for first, second in own:
        ledger.tie(first, second)
    assert np.array_equal(_components(ledger, []), expected(size, own))
    more = [(random.integers(0, size, 5), random.integers(0, size, 5))]
    assert np.array_equal(_components(ledger, more), expected(size, own + more))
    # What somebody asked for before does not stay.
    assert np.array_equal(_components(ledger, []), expected(size, own))
    ledger.tie(*more[0])
    assert np.array_equal(_components(ledger, []), expected(size, own + more))
