"""Random small networks and random plans for hypothesis.

A network is drawn as a short description, `Net(stem=6, blocks=(("residual", 4),))`, and built from
it by plain code: a failing example prints as something a person can build, and shrinks to fewer
and narrower blocks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

import widthwise as ww
from cases import scramble
from zoo_basic import Head, conv_bn


class _Residual(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv_bn(width, size), nn.ReLU(), conv_bn(size, width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


class _Concat(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.norm, self.conv = nn.BatchNorm2d(width), nn.Conv2d(width, size, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((x, self.conv(F.relu(self.norm(x)))), 1)


class _Excite(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(width, size, 1), nn.ReLU())
        self.gate.extend((nn.Conv2d(size, width, 1), nn.Sigmoid()))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gate(x)


class _Halves(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.both, self.left = nn.Conv2d(width, 2 * size, 1), conv_bn(size, size)

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.both(x).chunk(2, 1)
        return torch.cat((self.left(left), right), 1)


class _Branches(nn.Module):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.a, self.b = conv_bn(width, size), nn.Conv2d(width, size, 1)
        self.c = nn.Conv2d(width, size, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat((F.relu(self.a(x) + self.b(x)), self.c(x)), 1)


def _block(kind: str, width: int, size: int) -> tuple[nn.Module, int]:
    """Build one block on `width` channels; returns it with the width it leaves."""
    match kind:
        case "conv":
            return nn.Sequential(nn.Conv2d(width, size, 3, padding=1), nn.LeakyReLU(0.1)), size
        case "norm":
            return nn.Sequential(conv_bn(width, size), nn.ReLU()), size
        case "residual":
            return _Residual(width, size), width
        case "concat":
            return _Concat(width, size), width + size
        case "depthwise":
            inner = conv_bn(width, width, groups=width)
            return nn.Sequential(inner, nn.Hardswish(), conv_bn(width, size, 1)), size
        case "grouped":
            inner = conv_bn(2 * size, 2 * size, groups=size)
            return nn.Sequential(conv_bn(width, 2 * size, 1), nn.ReLU(), inner), 2 * size
        case "excite":
            return _Excite(width, size), width
        case "halves":
            return _Halves(width, size), 2 * size
        case "branches":
            return _Branches(width, size), 2 * size
        case "shuffle":
            up = nn.Sequential(nn.Conv2d(width, 4 * size, 1), nn.PixelShuffle(2), nn.MaxPool2d(2))
            return up, size
        case "upsample":
            up = nn.Sequential(nn.ConvTranspose2d(width, size, 2, stride=2), nn.AvgPool2d(2))
            return up, size
        case "groupnorm":
            return nn.Sequential(nn.Conv2d(width, 2 * size, 1), nn.GroupNorm(2, 2 * size)), 2 * size
    raise ValueError(f"no block is called {kind!r}")


KINDS = (
    "conv",
    "norm",
    "residual",
    "concat",
    "depthwise",
    "grouped",
    "excite",
    "halves",
    "branches",
    "shuffle",
    "upsample",
    "groupnorm",
)


@dataclass(frozen=True)
class Net:
    """The description of a random network."""

    stem: int
    blocks: tuple[tuple[str, int], ...]
    seed: int = 0

    def build(self) -> nn.Module:
        """Build the network, in eval mode, always with the same weights."""
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            layers: list[nn.Module] = [conv_bn(3, self.stem), nn.ReLU()]
            width = self.stem
            for kind, size in self.blocks:
                block, width = _block(kind, width, size)
                layers.append(block)
            model = nn.Sequential(*layers, Head(width)).eval()
            scramble(model)
        return model

    @property
    def example_inputs(self) -> Tensor:
        """One random 8x8 image, always the same."""
        return torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


_BLOCKS = st.tuples(st.sampled_from(KINDS), st.integers(1, 6))


def nets(max_blocks: int = 5) -> st.SearchStrategy[Net]:
    """Random networks of up to `max_blocks` blocks."""
    blocks = st.lists(_BLOCKS, max_size=max_blocks).map(tuple)
    return st.builds(Net, stem=st.integers(1, 6), blocks=blocks, seed=st.integers(0, 3))


def masks(graph: ww.ChannelGraph) -> st.SearchStrategy[np.ndarray]:
    """Random kept units, one bool each; every axis keeps one at least, frozen axes keep all."""

    def draw(seed: int, keep: float) -> np.ndarray:
        return random_mask(graph, np.random.default_rng(seed), keep)

    return st.builds(draw, st.integers(0, 1000), st.sampled_from([0.0, 0.2, 0.5, 0.8]))


def random_mask(graph: ww.ChannelGraph, rng: np.random.Generator, keep: float = 0.5) -> np.ndarray:
    """Keep each free unit with probability `keep`, and one of every axis in any case."""
    kept = np.ones(graph.unit_count, dtype=bool)
    for axis in graph.axes.values():
        if axis.frozen is None and axis.width:
            choice = rng.random(axis.width) < keep
            choice[rng.integers(axis.width)] = True
            kept[axis.units] = choice
    return kept


def plan_of(graph: ww.ChannelGraph, kept: np.ndarray) -> ww.Plan:
    """The plan that keeps exactly these units."""
    return ww.Plan.of(graph, kept)
