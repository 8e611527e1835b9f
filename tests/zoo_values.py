"""Networks for the cases: values that are read, parts that are shuffled or picked one by one."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_basic import Head, conv_bn


class ChosenByScore(nn.Module):
    """Positions are chosen by a mask; how many there are depends on values (detectors)."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.score, self.box = conv_bn(3, 8), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.trunk(x))
        score, boxes = self.score(x).flatten(), self.box(x)[0].flatten(1)
        order = score.sort(descending=True).indices[:20]
        chosen = order[torch.nonzero(score[order] > -1e9).squeeze(1)]
        return boxes.transpose(0, 1)[chosen]


class WrittenByIndex(nn.Module):
    """Features are put into an empty tensor, some rows at a time (pooling over pyramid levels)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        rows = F.relu(self.conv(x))[0].flatten(1).T
        level = torch.where(torch.arange(rows.shape[0], device=x.device) >= 0)[0]
        result = torch.zeros(rows.shape, device=x.device)
        result[level] = rows[level]
        return self.last(result)


class CachedInFirstRun(nn.Module):
    """The first run computes what later runs find (scales of a pyramid, anchors)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale: Tensor | None = None
        self.conv, self.head = conv_bn(3, 8), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        if self.scale is None:
            self.scale = torch.ones(1, device=x.device) * x.shape[-1] / 16
        return self.head(F.relu(self.conv(x)) * self.scale)


class ShuffledHalves(nn.Module):
    """Halves are shuffled and halved again, three times (ShuffleNetV2)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = conv_bn(3, 24), Head(24)
        self.branches = nn.ModuleList([conv_bn(12, 12) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for branch in self.branches:
            passed, changed = x.chunk(2, 1)
            x = torch.stack([passed, F.relu(branch(changed))], 2).flatten(1, 2)
        return self.head(x)


class GatesOneByOne(nn.Module):
    """Each of a few gates is picked by its place, in a loop of constant length (FocalNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = (8, 3)
        self.stem, self.both, self.head = conv_bn(3, 8), nn.Conv2d(8, 11, 1), Head(8)
        self.levels = nn.ModuleList([conv_bn(8, 8) for _ in range(3)])

    def forward(self, x: Tensor) -> Tensor:
        context, gates = torch.split(self.both(F.relu(self.stem(x))), self.sizes, dim=1)
        total = torch.zeros_like(context)
        for number, level in enumerate(self.levels):
            context = F.relu(level(context))
            total = total + context * gates[:, number : number + 1]
        return self.head(total)


class _Rotation(nn.Module):
    """A table of a quarter of the dims that it speaks of, checked in a method of its own."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        self.register_buffer("periods", torch.linspace(1, 2, dim // 4))

    def table(self, tokens: int) -> Tensor:
        assert self.periods.numel() == self.dim // 4
        angles = torch.arange(tokens, device=self.periods.device)[:, None] * self.periods
        return angles.cos().repeat(1, 4)


class TableOfAFraction(nn.Module):
    """An attribute is four times the width of a buffer, and a method insists (rotary positions)."""

    def __init__(self) -> None:
        super().__init__()
        self.rotation = _Rotation(16)
        self.embed, self.last = nn.Linear(6, 16), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.embed(x) * self.rotation.table(x.shape[1]))


class _Update(nn.Module):
    """Reads a hidden state and a context."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden_size = 10
        self.conv = conv_bn(16, 10)

    def forward(self, hidden: Tensor, context: Tensor) -> Tensor:
        return self.conv(torch.cat([hidden, context], 1)).tanh() + hidden


class SizeInChild(nn.Module):
    """A split is made by a size that a child keeps (RAFT)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.update, self.head = conv_bn(3, 16), _Update(), Head(10)

    def forward(self, x: Tensor) -> Tensor:
        both = F.relu(self.encoder(x))
        size = self.update.hidden_size
        hidden, context = torch.split(both, [size, both.shape[1] - size], dim=1)
        return self.head(self.update(hidden, context))


class MixedTokens(nn.Module):
    """A convolution of size one over tokens leaves the channels beside them alone (CoaT)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.mix, self.last = nn.Linear(6, 12), nn.Conv1d(4, 2, 1), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.mix(self.embed(x)))


class ChannelConvolution(nn.Module):
    """A gate from a convolution along the channels: a channel's neighbours count (ECA)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.gate, self.head = conv_bn(3, 8), nn.Conv1d(1, 1, 3, padding=1), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        gate = self.gate(x.mean((2, 3))[:, None]).sigmoid()
        return self.head(x * gate[:, 0, :, None, None])


class LearnedQueries(nn.Module):
    """A mask is asked whether it hides anything, and queries start from new zeros (DETR)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.conv = nn.Embedding(5, 8), nn.Conv2d(3, 8, 3)
        self.inner, self.last = nn.Linear(8, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        positions = self.embed.weight[None].repeat(len(x), 1, 1)
        # On real tensors, which reading the mask calls for, PyTorch detaches these only if somebody
        # holds them.
        queries = torch.zeros_like(positions)
        mask = torch.ones(len(x), 4, dtype=torch.bool, device=x.device)
        if mask.all():
            queries = queries + self.inner(positions)
        return self.last(queries + positions + self.conv(x).mean((2, 3))[:, None])


class LookedUpKernels(nn.Module):
    """A weight is looked up in a table of kernels, by a buffer of numbers (shared kernels)."""

    number: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = conv_bn(3, 8), Head(6)
        self.table = nn.Parameter(torch.randn(5, 3, 3))
        self.register_buffer("number", torch.arange(48).reshape(6, 8) % 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        return self.head(F.relu(F.conv2d(x, self.table[self.number], padding=1)))
