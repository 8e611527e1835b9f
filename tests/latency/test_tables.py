"""Tables of times: which widths are measured, and what is said in between."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import RegularGridInterpolator

from widthwise.latency.tables import Table, Tables, grid


@given(full=st.integers(1, 600), step=st.integers(1, 40))
def test_a_grid_is_what_the_layer_can_have(full: int, step: int) -> None:
    """Widths increase, end at the full one, and are whole steps."""
    full *= step
    widths = grid(full, step, moves=True)
    assert widths[-1] == full and list(widths) == sorted(set(widths)) and widths[0] > 0
    assert all(width % step == 0 for width in widths)
    assert len(widths) <= 5
    assert grid(full, step, moves=False) == (full,)


def test_a_sum_of_tables_is_interpolated_in_two_directions() -> None:
    """At widths within the grids it is what SciPy's interpolation gives; outside, the nearest."""
    generator = np.random.default_rng(0)
    grids = [((2, 5, 9), (1, 4)), ((3,), (2, 8)), ((7,), (7,))]
    tables = [
        Table.of(outer, inner, generator.random(len(outer) * len(inner)).tolist())
        for outer, inner in grids
    ]
    sums = Tables(tables, [(outer[-1], inner[-1]) for outer, inner in grids])
    for _ in range(50):
        asked = [
            (generator.integers(0, o[-1] + 1), generator.integers(0, i[-1] + 1)) for o, i in grids
        ]
        expected = 0.0
        for table, (o, i) in zip(tables, asked, strict=True):
            # SciPy wants two points per direction: a second one far away changes nothing.
            times = np.pad(table.times, ((0, 1), (0, 1)), mode="edge")
            points = ((*table.outer, 1000), (*table.inner, 1000))
            clipped = (max(o, table.outer[0]), max(i, table.inner[0]))
            expected += RegularGridInterpolator(points, times)(clipped).item()
        outer, inner = np.array(asked).T
        assert sums.total(outer, inner) == pytest.approx(expected, rel=1e-12)


@given(st.lists(st.floats(0.01, 100), min_size=12, max_size=12), st.data())
def test_a_wider_layer_never_costs_less(times: list[float], data: st.DataObject) -> None:
    """Whatever was measured; and no time is below what was measured."""
    table = Table.of((2, 4, 8), (1, 2, 3, 9), times)
    assert (table.times >= np.array(times).reshape(3, 4)).all()
    sums = Tables([table], [(8, 9)])
    first = data.draw(st.tuples(st.integers(0, 8), st.integers(0, 9)))
    wider = data.draw(st.tuples(st.integers(first[0], 8), st.integers(first[1], 9)))
    small, large = (sums.total(np.array([o]), np.array([i])) for o, i in (first, wider))
    assert small <= large * (1 + 1e-12)


def test_no_layers_take_no_time() -> None:
    """A network without weights has no tables."""
    assert Tables([], []).total(np.empty(0, np.int64), np.empty(0, np.int64)) == 0
