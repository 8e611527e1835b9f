"""Blocks that normalise, scale and compute weights."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from fuzzing.blocks import Block, LayerNorm2d, conv, pooled


class ChannelNorm(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.norm, self.conv, self.out = LayerNorm2d(width), conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(self.conv(self.norm(x)))


class NormByHand(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gain, self.bias = nn.Parameter(torch.ones(width)), nn.Parameter(torch.zeros(width))
        self.conv, self.out = conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        var = (x - mean).pow(2).mean(1, keepdim=True)
        x = (x - mean) / torch.sqrt(var + 1e-6)
        return self.conv(x * self.gain[:, None, None] + self.bias[:, None, None])


class GroupNorm(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.norm = conv(width, 2 * size), nn.GroupNorm(2, 2 * size)
        self.out = 2 * size

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))


class InstanceNorm(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.norm = conv(width, size), nn.InstanceNorm2d(size, affine=True)
        self.out = size

    def forward(self, x: Tensor) -> Tensor:
        return F.softplus(self.norm(self.conv(x)))


class RootMeanSquare(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gain, self.conv, self.out = nn.Parameter(torch.ones(width)), conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        x = x.permute(0, 2, 3, 1)
        x = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.gain
        return self.conv(x.permute(0, 3, 1, 2))


class UnitLength(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.normalize(x, dim=1, eps=0.1))


class ResponseNorm(Block):
    """ConvNeXt V2's: how large a channel is beside the others."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(width, size, 1), conv(size, width, 1)
        self.gamma = nn.Parameter(torch.zeros(1, size, 1, 1))
        self.beta, self.out = nn.Parameter(torch.zeros(1, size, 1, 1)), width

    def forward(self, x: Tensor) -> Tensor:
        y = F.gelu(self.conv1(x))
        length = torch.linalg.vector_norm(y, ord=2, dim=(2, 3), keepdim=True)
        share = length / (length.mean(1, keepdim=True) + 1e-6)
        return x + self.conv2(self.gamma * (y * share) + self.beta + y)


class ConvNext(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.depth, self.norm = conv(width, width, 7, groups=width), nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * size), nn.Linear(2 * size, width)
        self.scale, self.out = nn.Parameter(1e-2 * torch.ones(width)), width

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depth(x).permute(0, 2, 3, 1))
        y = self.scale * self.fc2(F.gelu(self.fc1(y)))
        return x + y.permute(0, 3, 1, 2)


class Standardised(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        weight = self.conv.weight
        weight = weight - weight.mean((1, 2, 3), keepdim=True)
        weight = weight / (weight.std((1, 2, 3), keepdim=True) + 1e-5)
        return F.conv2d(x, weight, self.conv.bias, padding=1)


class WeightNorm(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = parametrizations.weight_norm(conv(width, size)), size

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x))


class Merged(Block):
    """RepVGG's branches, added as weights."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.large, self.small, self.out = conv(width, size), conv(width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        weight = self.large.weight + F.pad(self.small.weight, (1, 1, 1, 1))
        return F.relu(F.conv2d(x, weight, self.large.bias + self.small.bias, padding=1))


class LowRank(Block):
    """LoRA: a linear layer and a product of two thin ones."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(size, width) / width)
        self.a = nn.Parameter(torch.randn(2, width) / width)
        self.b, self.out = nn.Parameter(torch.randn(size, 2)), size

    def forward(self, x: Tensor) -> Tensor:
        y = F.linear(x.permute(0, 2, 3, 1), self.weight + self.b @ self.a)
        return y.permute(0, 3, 1, 2)


class ByScalar(Block):
    """ReZero: a branch behind one number, nearly zero."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(width, size), conv(size, width)
        self.gain, self.out = nn.Parameter(torch.zeros(())), width

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gain * self.conv2(F.relu(self.conv1(x)))


class Modulated(Block):
    """FiLM: scale and shift from the image as a whole."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.both, self.out = conv(width, size), nn.Linear(width, 2 * size), size

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = self.both(pooled(x))[:, :, None, None].chunk(2, dim=1)
        return self.conv(x) * (1 + scale) + shift


class MixedExperts(Block):
    """CondConv: kernels mixed per image."""

    counts_one_differently = True

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.kernels = nn.Parameter(torch.randn(3, size, width, 1, 1) / width)
        self.route, self.out = nn.Linear(width, 3), size

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        shares = self.route(pooled(x)).softmax(-1)
        kernels = torch.einsum("be,eoikl->boikl", shares, self.kernels)
        y = F.conv2d(x.reshape(1, b * c, h, w), kernels.flatten(0, 1), groups=b)
        return y.view(b, -1, h, w)


class PerChannelGain(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.act, self.conv, self.out = nn.PReLU(width), conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.act(x))


class OneSlope(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.act, self.conv, self.out = nn.PReLU(), conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.conv(x))


class NeighbourGate(Block):
    """ECA: a kernel that slides over channels."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter = conv(width, size + 2, 1)
        self.conv, self.out = nn.Conv1d(1, 1, 3, padding=1, bias=False), size + 2

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        gate = self.conv(pooled(x).unsqueeze(1)).sigmoid()
        return x * gate.transpose(1, 2).unsqueeze(-1)


class Remembered(Block):
    """A buffer that training moves: the mean of every channel."""

    detaches = True

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.register_buffer("centre", torch.zeros(width))
        self.conv, self.out = conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.centre.mul_(0.9).add_(x.mean((0, 2, 3)), alpha=0.1)
        return self.conv(x - self.centre.view(1, -1, 1, 1))


class Dropped(Block):
    random_in_training = True

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.drop, self.out = conv(width, size), nn.Dropout2d(0.2), size

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(F.relu(self.conv(x)))
