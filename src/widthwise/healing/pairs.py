"""What the full and the narrow network have at one layer, on the same inputs."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from types import TracebackType

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from widthwise.healing.route import Route
from widthwise.healing.running import Run, Visit, visits
from widthwise.network.inputs import Inputs

_LEAST_MEMORY, _SHARE = 4e9, 1 / 3
"""Bytes that what is alive in one pass may take, or the share of the machine's memory, if more."""
_ALIVE = 4
"""How many tensors of the size of the largest a pass keeps at a time."""


@dataclass(frozen=True)
class Pair:
    """One call of a layer in both networks; inputs that are held out or such to fit to."""

    held_out: bool
    wide: Visit
    narrow: Visit


class SideBySide:
    """Two networks on their way from layer to layer.

    Where the inputs fit into memory together, and the networks take so many at a time, both run
    once, and each layer is repaired before it runs. Else, they run anew as far as every layer.

    Args:
        networks: The full and the narrow one, in evaluation mode.
        routes: Of both.
        batches: What to run on.
    """

    def __init__(
        self, networks: Sequence[nn.Module], routes: Sequence[Route], batches: Sequence[Inputs]
    ) -> None:
        self._networks, self._routes, self._batches = networks, routes, batches
        whole = joined(batches, routes[0].bytes_per_input)
        self._runs = self._begun(whole[0]) if len(whole) == 1 else []

    def __enter__(self) -> SideBySide:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self._close()

    def _close(self) -> None:
        for run in self._runs:
            run.close()
        self._runs = []

    def at(self, path: str) -> Iterable[Pair]:
        """Return what both have at a layer; the narrow one has not run it yet."""
        if self._runs and self._routes[1].calls[path] == 1:
            try:
                found = [run.reach(path) for run in self._runs]
            except Exception:
                if len(self._batches) == 1:
                    raise
                # Not so many at a time.
                self._close()
                return _Repeated(self, path)
            if found[0] is not None and found[1] is not None:
                return list(_apart(0, found[0], found[1]))
        return _Repeated(self, path)

    def anew(self, path: str) -> Iterator[Pair]:
        """Run both as far as a layer, batch after batch."""
        calls = self._routes[1].calls[path]
        for number, batch in enumerate(self._batches):
            if calls > 1:
                found = [visits(network, path, calls, batch) for network in self._networks]
            else:
                found = []
                with ExitStack() as stack:
                    for run in [stack.enter_context(closing(each)) for each in self._begun(batch)]:
                        visit = run.reach(path)
                        run.close()
                        found.append([] if visit is None else [visit])
            for wide, narrow in zip(*found, strict=True):
                yield from _apart(number, wide, narrow)

    def _begun(self, batch: Inputs) -> list[Run]:
        return [
            Run(
                network,
                batch,
                after=after,
                added={path: fate.added for path, fate in route.fates.items()},
            )
            for network, route, after in zip(
                self._networks, self._routes, (True, False), strict=True
            )
        ]


@dataclass(frozen=True)
class _Repeated(Iterable[Pair]):
    """What both networks have at a layer, run anew whenever it is asked for."""

    networks: SideBySide
    path: str

    def __iter__(self) -> Iterator[Pair]:
        return self.networks.anew(self.path)


def _apart(number: int, wide: Visit, narrow: Visit) -> Iterator[Pair]:
    """Hold a quarter of the inputs out."""
    size = wide.given.shape[0]
    apart = size - max(size // 4, 1) if size >= 4 else (0 if number % 4 == 3 else size)
    for held_out, which in ((False, slice(0, apart)), (True, slice(apart, size))):
        if which.start < which.stop:
            yield Pair(held_out, wide.part(which), narrow.part(which))


def joined(batches: Sequence[Inputs], bytes_per_input: float) -> list[Inputs]:
    """Put batches together that differ in nothing but their values, as far as memory allows.

    Args:
        batches: The inputs.
        bytes_per_input: Size of the largest tensor that a pass makes of one input.

    Returns:
        As few batches as possible.
    """
    return together(batches, max(1, int(_memory() / (_ALIVE * max(bytes_per_input, 1)))))


def together(batches: Sequence[Inputs], most: float = math.inf) -> list[Inputs]:
    """Put batches together that differ in nothing but their values.

    Args:
        batches: The inputs.
        most: Inputs in one, if there are several.

    Returns:
        As few batches as possible.
    """
    groups: list[list[Inputs]] = []
    for batch in batches:
        last = groups[-1] if groups else []
        count = sum(each.batch or 0 for each in [*last, batch])
        if last and _alike(last[0], batch) and count <= most:
            last.append(batch)
        else:
            groups.append([batch])
    return [_joined(group) for group in groups]


def _memory() -> float:
    names: Mapping[str, int] = getattr(os, "sysconf_names", {})
    if not {"SC_PHYS_PAGES", "SC_PAGE_SIZE"} <= names.keys():
        return _LEAST_MEMORY
    own = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return max(_LEAST_MEMORY, _SHARE * own)


def _alike(one: Inputs, other: Inputs) -> bool:
    (leaves, spec), (others, same) = (
        tree_flatten((each.args, each.kwargs)) for each in (one, other)
    )
    if spec != same or one.method != other.method or one.batch is None or other.batch is None:
        return False
    return all(
        a.shape[1:] == b.shape[1:] and a.dtype == b.dtype
        if isinstance(a, Tensor) and isinstance(b, Tensor)
        else a is b or (type(a) is type(b) and not isinstance(a, Tensor) and bool(a == b))
        for a, b in zip(leaves, others, strict=True)
    )


def _joined(group: Sequence[Inputs]) -> Inputs:
    if len(group) == 1:
        return group[0]
    leaves = [tree_flatten((each.args, each.kwargs)) for each in group]
    args, kwargs = tree_unflatten(
        [
            torch.cat(same) if isinstance(same[0], Tensor) else same[0]
            for same in zip(*(found for found, _ in leaves), strict=True)
        ],
        leaves[0][1],
    )
    return replace(group[0], args=args, kwargs=kwargs)
