"""Equal counts: parts of a dim of which code expects equally many channels, whichever they are."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np

from widthwise.rules import Ids


def balance(component: Ids, parts: Iterable[tuple[Ids, Ids]]) -> Ids:
    """Join components so that any choice of them keeps equally many ids of both parts.

    What both parts hold equally often needs nothing. Of the rest, the first component of one part
    is joined with the first of the other that appears as often, and so on. Where channels have been
    shuffled between the parts before, that joins far fewer than index by index.

    Args:
        component: The component of every id. Shape ``[ids]``.
        parts: Pairs of parts, equally long.

    Returns:
        The new component of every id.
    """
    count = int(component.max(initial=-1)) + 1
    joined = np.arange(count)
    for first, second in parts:
        ours, theirs = joined[component[first]], joined[component[second]]
        surplus = np.bincount(ours, minlength=count) - np.bincount(theirs, minlength=count)
        for one, other in _matched(_in_order(ours, surplus), _in_order(theirs, -surplus)):
            joined[joined == joined[other]] = joined[one]
    _, numbers = np.unique(joined, return_inverse=True)
    return np.asarray(numbers, np.int64)[component]


Surplus: TypeAlias = list[tuple[int, int]]
"""Components, each with how many more ids of it one part holds than the other."""


def _in_order(components: Ids, surplus: Ids) -> Surplus:
    """Return what there is more of, in order of first appearance."""
    found, places = np.unique(components, return_index=True)
    ordered = found[np.argsort(places)]
    return [(int(c), int(surplus[c])) for c in ordered if surplus[c] > 0]


def _matched(ours: Surplus, theirs: Surplus) -> Iterator[tuple[int, int]]:
    """Yield pairs to join: equals in order first, then whatever is left, piece by piece."""
    waiting: dict[int, deque[int]] = defaultdict(deque)
    for component, count in theirs:
        waiting[count].append(component)
    left = deque[list[int]]()
    for component, count in ours:
        if waiting[count]:
            yield component, waiting[count].popleft()
        else:
            left.append([component, count])
    rest = deque([c, count] for c, count in theirs if c in waiting[count])
    while left:
        one, other = left[0], rest[0]
        yield one[0], other[0]
        shared = min(one[1], other[1])
        for queue in (left, rest):
            queue[0][1] -= shared
            if not queue[0][1]:
                queue.popleft()
