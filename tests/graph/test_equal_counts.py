"""Equal counts: what is joined, and that it suffices."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from widthwise.graph.equal_counts import balance


def test_what_both_parts_hold_alike_stays_apart() -> None:
    """Components that both parts hold equally often are not joined with anything."""
    component = np.array([0, 1, 2, 2, 0, 3])
    joined = balance(component, [(np.array([0, 1, 2]), np.array([3, 4, 5]))])
    assert len(set(joined.tolist())) == 3
    assert joined[1] == joined[5]


def test_plain_halves_are_joined_index_by_index() -> None:
    """Where nothing was shuffled, the first of one half goes with the first of the other."""
    joined = balance(np.arange(6), [(np.array([0, 1, 2]), np.array([3, 4, 5]))])
    assert joined[:3].tolist() == joined[3:].tolist()
    assert len(set(joined.tolist())) == 3


@given(st.data())
def test_any_choice_keeps_equally_many_of_both(data: st.DataObject) -> None:
    """Whatever components are kept, both parts of every pair keep equal counts."""
    width = data.draw(st.integers(1, 12))
    component = np.array(data.draw(st.lists(st.integers(0, 9), min_size=width, max_size=width)))
    _, component = np.unique(component, return_inverse=True)
    parts = []
    for _ in range(data.draw(st.integers(1, 4))):
        size = data.draw(st.integers(1, width))
        draw = st.lists(st.integers(0, width - 1), min_size=size, max_size=size)
        parts.append((np.array(data.draw(draw)), np.array(data.draw(draw))))
    joined = balance(component, parts)
    count = int(joined.max()) + 1
    kept = np.array(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    for first, second in parts:
        assert kept[joined[first]].sum() == kept[joined[second]].sum()


def test_without_pairs_nothing_is_done() -> None:
    """The components come back as they are, and are not even looked at."""
    component = np.array([0, 1, 1, 2])
    assert balance(component, []) is component
