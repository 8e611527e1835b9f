"""One small network for each kind of remedy; each is narrow in one way that one pass cannot see."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from widthwise.graph.constraints import Constraints
from widthwise.graph.dry_run.study import Study
from widthwise.graph.recording.passes import Pass
from widthwise.graph.recording.values import NoValues
from widthwise.network.copying import copy_module, to_meta
from widthwise.network.inputs import Inputs

IMAGE = torch.zeros(1, 3, 4, 4)


def study_of(net: nn.Module, inputs: object = IMAGE) -> Study:
    """The study of a network in evaluation mode, without values."""
    twin = copy_module(net, to_meta)
    return Study([Pass(twin, Inputs.of(inputs).to_meta())], NoValues, Constraints())


class Viewed(nn.Module):
    """Reshapes to a number of channels that an attribute keeps."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = 12
        self.first, self.last = nn.Conv2d(3, 12, 1), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x).mean((2, 3)).view(-1, self.channels))


class SplitBySizes(nn.Module):
    """Splits by a tuple of sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = (10, 4)
        self.first = nn.Conv2d(3, 14, 1)
        self.large, self.small = nn.Conv2d(10, 2, 1), nn.Conv2d(4, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        large, small = torch.split(self.first(x), self.sizes, dim=1)
        return self.large(large) + self.small(small)


class ShapedByTuple(nn.Module):
    """Views a scale as a shape, one entry of which is a width."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = (8, 1, 1)
        self.scale = nn.Parameter(torch.rand(8))
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(x) * self.scale.view(self.shape))


class Parts(nn.Module):
    """Views by the sum of two attributes, and slices by one of them."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value = 3, 5
        self.first = nn.Conv2d(3, 16, 1)
        self.keys, self.values = nn.Linear(3, 2), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        both = self.first(x).mean((2, 3)).reshape(-1, 2, self.key + self.value)
        return self.keys(both[..., : self.key]) + self.values(both[..., self.key :])


class SplitLater(nn.Module):
    """Views by a sum of three sizes, of which attributes keep two, what it then splits by them."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value = 3, 5
        self.first = nn.Linear(3, 2 * 11)
        self.last = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x).view(-1, 2, 2 * self.key + self.value)
        q, k, v = x.split([self.key, self.key, self.value], 2)
        return self.last(v * (q * k).sum(2, keepdim=True))


class MultipleOf(nn.Module):
    """A linear layer seen as maps whose number is a multiple of an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 5
        self.enter, self.norm = nn.Linear(6, 2 * 5 * 16), nn.BatchNorm2d(10)
        self.up, self.last = nn.ConvTranspose2d(10, 4, 4, 2, 1), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.enter(x).view(-1, 2 * self.width, 4, 4)
        return self.last(self.up(self.norm(maps)).mean((2, 3)))


class Table(nn.Module):
    """A table of a quarter of the dims that an attribute counts, checked in a method."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 16
        self.register_buffer("periods", torch.ones(4))

    def rows(self, tokens: int) -> Tensor:
        assert self.periods.numel() == self.dim // 4
        return (torch.ones(tokens, device=self.periods.device)[:, None] * self.periods).repeat(1, 4)


class FractionOf(nn.Module):
    """A child checks that its table has a quarter of the size that it remembers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = Table()
        self.embed, self.last = nn.Linear(6, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.embed(x) * self.table.rows(x.shape[1]))


class MeetsAgain(nn.Module):
    """An attribute shapes two layers, one after the other, that nothing else ties."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 6
        self.a, self.b = nn.Linear(3, 6), nn.Linear(6, 6)
        self.last = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.b(self.a(x).view(-1, self.width).relu()).view(-1, self.width)
        return self.last(x)


class EqualWidths(nn.Module):
    """Splits one width by another: the two must keep equal counts."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.qkv, self.last = nn.Linear(6, 8), nn.Linear(8, 24), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        b, n, c = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, c).unbind(2)
        return self.last(q * k + v)


class Divided(nn.Module):
    """A number of heads divides a width, and may not change itself."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 3
        self.first, self.last = nn.Linear(6, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if x.shape[-1] % self.heads or self.heads != 3:
            raise ValueError("three heads divide the width")
        return self.last(x)


class SecondReading(nn.Module):
    """Splits a width into neighbours of three: the second factor is the constant one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 12), nn.Linear(12, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x.view(x.shape[0], x.shape[1] // 3, 3).flip(2).flatten(1))


class Refused(nn.Module):
    """Adds a constant of its own length, which no width may change."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        if x.shape[1] != 8:
            raise ValueError("eight, and no other number")
        return self.last(F.relu(x))


class CountedByCode(nn.Module):
    """Makes a number of a width, by a call that carries no channel."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return self.last(x * torch.arange(x.shape[1], device=x.device).float().mean())


class EmptiedSlice(nn.Module):
    """Picks gates one by one, by constant places: each of them has to stay."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.gates = nn.Conv2d(3, 8, 1), nn.Conv2d(3, 5, 1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        y, gates = self.first(x), self.gates(x)
        return self.last(sum(y * gates[:, number : number + 1] for number in range(5)))


class Refinable(nn.Module):
    """Two groups that both stay: more is free when each of them narrows alike (ResNeSt)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.split = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 12, 1, groups=2)
        self.down, self.up = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 12, 1)
        self.last = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.split(self.stem(x))
        n, c, h, w = x.shape
        parts = x.reshape(n, 2, c // 2, h, w)
        gate = self.up(self.down(parts.sum(1))).reshape(n, 2, c // 2, h, w).softmax(1)
        return self.last((parts * gate).sum(1))
