"""Caches outside of a network are after a trace and a proof as they were before."""

from __future__ import annotations

from functools import lru_cache, wraps

import pytest
import torch
from torch import Tensor, nn

import widthwise as ww
from widthwise.network.outside import outside_kept

BY_SIZE: dict[int, Tensor] = {}
IN_ORDER: list[Tensor] = []


def grid(size: int, device: torch.device) -> Tensor:
    """Make what is worth keeping."""
    return torch.linspace(-1, 1, size, device=device)


def by_size(x: Tensor) -> Tensor:
    """Keep a grid in a dictionary of this file, as code of optical flow does."""
    if x.shape[-1] not in BY_SIZE:
        BY_SIZE[x.shape[-1]] = grid(x.shape[-1], x.device)
    return BY_SIZE[x.shape[-1]]


def in_order(x: Tensor) -> Tensor:
    """Keep it in a list."""
    if not IN_ORDER:
        IN_ORDER.append(grid(x.shape[-1], x.device))
    return IN_ORDER[0]


@lru_cache
def remembered(size: int, device: torch.device) -> Tensor:
    """Let Python keep it."""
    return grid(size, device)


def cached(function):
    """Keep results behind a wrapper, which alone is seen from outside (transformers)."""
    inner = lru_cache(function)

    @wraps(function)
    def wrapper(*args):
        return inner(*args)

    wrapper.clear = inner.cache_clear
    return wrapper


@cached
def wrapped(size: int, device: torch.device) -> Tensor:
    """Let the decorator keep it."""
    return grid(size, device)


class Held:
    """Keeps it in a class."""

    kept: dict[int, Tensor] = {}

    @staticmethod
    @cached
    def static(size: int, device: torch.device) -> Tensor:
        """Let the decorator of a class's function keep it."""
        return grid(size, device)

    def of(self, x: Tensor) -> Tensor:
        """Return the grid for a tensor."""
        return self.kept.setdefault(x.shape[-1], grid(x.shape[-1], x.device))


class Net(Held, nn.Module):
    """Adds a grid to what its first layer makes."""

    def __init__(self, added) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 1)
        self.added = added

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x + self.added(self, x))


WAYS = {
    "dict": lambda net, x: by_size(x),
    "list": lambda net, x: in_order(x),
    "functools": lambda net, x: remembered(x.shape[-1], x.device),
    "class": lambda net, x: net.of(x),
    "decorator": lambda net, x: wrapped(x.shape[-1], x.device),
    "decorator in a class": lambda net, x: net.static(x.shape[-1], x.device),
}


@pytest.mark.parametrize("called_before", [False, True])
@pytest.mark.parametrize("way", WAYS)
def test_networks_run_after_a_trace_as_before(way: str, called_before: bool) -> None:
    """A trace leaves no imagined tensor there, and a proof none of other widths."""
    for cache in (BY_SIZE, IN_ORDER, Held.kept):
        cache.clear()
    remembered.cache_clear()
    wrapped.clear()
    Held.static.clear()
    net, x = Net(WAYS[way]).eval(), torch.randn(2, 3, 4, 4)
    if called_before:
        net(x)
    graph = ww.trace(net, x)
    small = ww.shrink(net, ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.6)))
    assert small.first.out_channels < 8
    expected = net(x)
    assert torch.equal(net(x), expected)
    assert all(not each.is_meta for each in (*BY_SIZE.values(), *IN_ORDER, *Held.kept.values()))


def test_contents_are_the_very_same_again() -> None:
    """What was there is there, what was added is gone, and the container is the user's own."""
    BY_SIZE.clear()
    mine = BY_SIZE[1] = torch.ones(1)
    net, same = Net(None), BY_SIZE
    with outside_kept(net):
        BY_SIZE.clear()
        BY_SIZE[2] = torch.ones(2)
    assert BY_SIZE is same and list(BY_SIZE) == [1] and BY_SIZE[1] is mine
    with pytest.raises(KeyError), outside_kept(net):
        BY_SIZE.pop(1)
        raise KeyError
    assert BY_SIZE[1] is mine
