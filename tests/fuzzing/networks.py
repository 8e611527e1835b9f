"""Random networks of random building blocks, as descriptions that a person can read and build."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from cases import scramble
from fuzzing import attending, convolutional, normalising, unusual
from fuzzing.blocks import Block, conv, pooled

SMALL, LARGE = 2, 6
"""Sizes of blocks. A stem is wider: three channels next to an image are held for its colours."""


def _blocks(*modules: Any) -> dict[str, type[Block]]:
    found = {}
    for module in modules:
        for name, kind in vars(module).items():
            if inspect.isclass(kind) and issubclass(kind, Block) and kind is not Block:
                found[re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()] = kind
    return found


BLOCKS = _blocks(convolutional, normalising, attending, unusual)
"""Name -> a block of plain layers."""


@dataclass(frozen=True)
class Part:
    """One block, or blocks around others."""

    kind: str
    size: int = 4
    inside: tuple[Part, ...] = ()

    def __repr__(self) -> str:
        more = f", {self.inside!r}" if self.inside else ""
        return f"Part({self.kind!r}, {self.size}{more})"


class _Around(Block):
    def __init__(self, width: int, part: Part) -> None:
        super().__init__()
        self.parts, inner = _chain(width, part.inside)
        self.kind = part.kind
        if part.kind == "concat":
            self.out = width + inner
            return
        self.fit = nn.Identity() if inner == width else conv(inner, width, 1)
        self.out = width

    def forward(self, x: Tensor) -> Tensor:
        y = self.parts(x)
        if self.kind == "concat":
            return torch.cat((x, y), 1)
        y = self.fit(y)
        match self.kind:
            case "residual":
                return x + y
            case "gate":
                return x * y.sigmoid()
            case "twice":
                return self.fit(self.parts(y.tanh()))
        raise ValueError(self.kind)


AROUND = ("residual", "concat", "gate", "twice")


def _chain(width: int, parts: tuple[Part, ...]) -> tuple[nn.Sequential, int]:
    layers = nn.Sequential()
    for part in parts:
        block = _Around(width, part) if part.inside else BLOCKS[part.kind](width, part.size)
        layers.append(block)
        width = block.out
    return layers, width


class Network(nn.Module):
    """A stem, a chain of parts, and one of several kinds of end."""

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.stem = conv(3, net.stem)
        self.parts, width = _chain(net.stem, net.parts)
        self.end = net.end
        self.head = nn.Linear(width, 5) if net.end == "classes" else conv(width, 3)

    def forward(self, x: Tensor) -> Any:
        """Return scores, an image, or a dict of both."""
        y = self.parts(torch.relu(self.stem(x)))
        match self.end:
            case "classes":
                return self.head(pooled(y))
            case "image":
                return x + self.head(y)
        return {"image": self.head(y), "mean": pooled(y).mean(1)}


ENDS = ("classes", "image", "both")


@dataclass(frozen=True)
class Net:
    """The description of a random network."""

    stem: int
    parts: tuple[Part, ...]
    end: str = "classes"
    seed: int = 0

    def build(self) -> nn.Module:
        """Build the network in eval mode, always with the same weights."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            network = Network(self).eval()
            scramble(network)
        return network

    def images(self, count: int, seed: int = 1) -> Tensor:
        """Draw images, always the same."""
        return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))

    def blocks(self) -> list[type[Block]]:
        """List the classes of its blocks."""
        return [BLOCKS[kind] for kind in _kinds(self.parts) if kind in BLOCKS]

    def smaller(self) -> Iterator[Net]:
        """List networks with one part less, or with what is inside of one in its place."""
        for parts in _smaller(self.parts):
            yield replace(self, parts=parts)


def _kinds(parts: tuple[Part, ...]) -> Iterator[str]:
    for part in parts:
        yield part.kind
        yield from _kinds(part.inside)


def _smaller(parts: tuple[Part, ...]) -> Iterator[tuple[Part, ...]]:
    for i, part in enumerate(parts):
        before, after = parts[:i], parts[i + 1 :]
        yield before + after
        if part.inside:
            yield before + part.inside + after
            for inside in _smaller(part.inside):
                if inside:
                    yield (*before, replace(part, inside=inside), *after)


def random_net(number: int) -> Net:
    """Draw a network, always the same for one number."""
    rng = np.random.default_rng([11, number])
    return Net(
        stem=int(rng.integers(LARGE - 1, LARGE + 3)),
        parts=_random_parts(rng, int(rng.integers(1, 5)), depth=0),
        end=str(rng.choice(ENDS)),
        seed=number % 4,
    )


def _random_parts(rng: np.random.Generator, count: int, depth: int) -> tuple[Part, ...]:
    parts = []
    for _ in range(count):
        size = int(rng.integers(SMALL, LARGE + 1))
        if depth < 2 and rng.random() < 0.25:
            inside = _random_parts(rng, int(rng.integers(1, 3)), depth + 1)
            parts.append(Part(str(rng.choice(AROUND)), size, inside))
        else:
            parts.append(Part(str(rng.choice(list(BLOCKS))), size))
    return tuple(parts)
