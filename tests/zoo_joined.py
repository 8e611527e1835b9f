"""Networks for the cases: what is joined and taken apart elsewhere, and bare parameters."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_basic import Head, conv_bn


class CascadedConcats(nn.Module):
    """A concatenation of concatenations, parts of which are read on their own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 6), conv_bn(6, 4), conv_bn(10, 5)
        self.d, self.head = conv_bn(15, 6), Head(21)

    def forward(self, x: Tensor) -> Tensor:
        a = F.relu(self.a(x))
        ab = torch.cat((a, self.b(a)), 1)
        abc = torch.cat((ab, self.c(ab)), 1)
        return self.head(torch.cat((abc, self.d(abc)), 1))


class SplitElsewhere(nn.Module):
    """Two layers are joined, and taken apart at another place than where they met."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 6), conv_bn(3, 6)
        self.left, self.right, self.head = conv_bn(4, 5), conv_bn(8, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        left, right = torch.cat((self.a(x), self.b(x)), 1).split((4, 8), 1)
        return self.head(F.relu(self.left(left) + self.right(right)))


class BareParameters(nn.Module):
    """Scales, shifts and a mixture of two branches, none of them in a layer of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.other, self.head = conv_bn(3, 7), conv_bn(3, 7), Head(7)
        self.scale = nn.Parameter(torch.ones(1, 7, 1, 1))
        self.shift = nn.Parameter(torch.zeros(7, 1, 1))
        self.mixture = nn.Parameter(torch.ones(2, 7))

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.stem(x)) * self.scale + self.shift
        first, second = self.mixture[..., None, None]
        return self.head(first * y + second * self.other(x))


class OneChannelOutput(nn.Module):
    """A map of one channel gates all others, and is an output too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.mask, self.head = conv_bn(3, 8), nn.Conv2d(8, 1, 1), nn.Conv2d(8, 5, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.body(x))
        mask = self.mask(x)
        return self.head(x * mask.sigmoid()), mask
