"""Equal counts: parts of a dim of which code expects equally many channels, whichever they are."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias

import numpy as np

from widthwise.rules import Components, Ids


def balance(component: Components, parts: Iterable[tuple[Ids, Ids]]) -> Components:
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
    pairs = list(parts)
    if not pairs:
        return component
    joined = list(range(int(component.max(initial=-1)) + 1))

    def end(one: int) -> int:
        """Return what a component was joined with in the end."""
        while joined[one] != one:
            one = joined[one]
        return one

    for first, second in pairs:
        ours, theirs = ([end(one) for one in component[part].tolist()] for part in (first, second))
        for one, other in _matched(*_surplus(ours, theirs)):
            # Others may have led these together, or further, already.
            joined[end(other)] = end(one)
    _, numbers = np.unique([end(one) for one in joined], return_inverse=True)
    return np.asarray(numbers, np.int64)[component]


Surplus: TypeAlias = list[tuple[int, int]]
"""Components, each with how many more ids of it one part holds than the other."""


def _surplus(ours: list[int], theirs: list[int]) -> tuple[Surplus, Surplus]:
    """Return what each of two parts holds more of, in order of first appearance."""
    more = Counter(ours)
    more.subtract(theirs)
    return (
        [(component, more[component]) for component in dict.fromkeys(ours) if more[component] > 0],
        [
            (component, -more[component])
            for component in dict.fromkeys(theirs)
            if more[component] < 0
        ],
    )


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
