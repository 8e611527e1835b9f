"""Blocks that move, choose, count or write channels in unusual ways."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuzzing.blocks import Block, conv, pooled


class Maxout(Block):
    """The larger of neighbouring channels."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, 2 * size), size

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        return self.conv(x).view(b, -1, 2, h, w).amax(2)


class MaxOfHalves(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, 2 * size), size

    def forward(self, x: Tensor) -> Tensor:
        return torch.maximum(*self.conv(x).chunk(2, 1))


class BothSigns(Block):
    """CReLU: what is positive, and what is negative."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, size), 2 * size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return F.relu(torch.cat((y, -y), 1))


class TanhGate(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.size, self.out = conv(width, 2 * size), size, size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.tanh(y[:, : self.size]) * torch.sigmoid(y[:, self.size :])


class UnequalParts(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.sizes = [size, 2, size + 1]
        self.conv, self.b = conv(width, sum(self.sizes)), conv(2, size, 1)
        self.out = 3 * size + 1

    def forward(self, x: Tensor) -> Tensor:
        a, b, c = torch.split(self.conv(x), self.sizes, 1)
        return torch.cat((a, F.relu(self.b(b)), c), 1)


class PartialConv(Block):
    """FasterNet's: a convolution on the first channels only."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.part = conv(width, 2 * size, 1), size
        self.conv, self.out = conv(size, size), 2 * size

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x)
        first, rest = torch.split(x, [self.part, x.shape[1] - self.part], dim=1)
        return torch.cat((self.conv(first), rest), 1)


class WrittenSlice(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.conv = conv(width, 2 * size, 1), conv(size, size)
        self.size, self.out = size, 2 * size

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        z = y.clone()
        z[:, : self.size] = self.conv(y[:, self.size :])
        return z


class StackSum(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.a, self.b, self.out = conv(width, size), conv(width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack((self.a(x), self.b(x), self.a(x.flip(2)))).sum(0)


class Repeated(Block):
    """Every channel twice, side by side and one after the other."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.a, self.b = conv(width, size), conv(2 * size, size), conv(2 * size, size)
        self.out = size

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        return self.a(y.repeat_interleave(2, 1)) + self.b(y.repeat(1, 2, 1, 1))


class Rolled(Block):
    """Each quarter of the channels moves its own way in space."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.leave, self.out = conv(width, 2 * size, 1), conv(2 * size, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.enter(x).chunk(2, 1)
        return self.leave(torch.cat((left.roll(1, 2), right.roll(-1, 3)), 1))


class Reversed(Block):
    """Channels in reverse order, added to themselves."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.leave, self.out = conv(width, size, 1), conv(size, size), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        return self.leave(y + y.flip(1))


class Permuted(Block):
    """Channels in another, fixed order."""

    freezes = True

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.leave, self.out = conv(width, size, 1), conv(size, size), size
        self.register_buffer("order", torch.arange(size).roll(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.leave(self.enter(x).index_select(1, self.order))


class Unfolded(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(9 * width, size), size

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        patches = F.unfold(x, 3, padding=1).transpose(1, 2)
        return self.fc(patches).transpose(1, 2).reshape(b, -1, h, w)


class Warped(Block):
    """Sampled where a convolution says."""

    fixed = ("flow",)

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.flow, self.conv, self.out = conv(width, 2), conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        grid = self.flow(x).tanh().permute(0, 2, 3, 1)
        return self.conv(F.grid_sample(x, grid, align_corners=False))


class Spectral(Block):
    """A filter in the frequency domain, per channel."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(width, 8, 5))
        self.conv, self.out = conv(width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        y = torch.fft.rfft2(x, norm="ortho") * self.filter
        return self.conv(torch.fft.irfft2(y, s=(8, 8), norm="ortho"))


class RunningSum(Block):
    """A sum along rows; channels take no part."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x.cumsum(3) / 8)


class RunningSumOfChannels(Block):
    fixed = ("enter",)

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.conv, self.out = conv(width, 3, 1), conv(3, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(self.enter(x).cumsum(1))


class WhichIsLargest(Block):
    """The number of a channel, used as a value."""

    fixed = ("enter",)

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.conv, self.out = conv(width, 3, 1), conv(width + 1, size), size

    def forward(self, x: Tensor) -> Tensor:
        number = self.enter(x).argmax(1, keepdim=True).to(x.dtype)
        return self.conv(torch.cat((x, number), 1))


class Routed(Block):
    """Two of three experts, by score."""

    fixed = ("gate",)

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gate, self.out = nn.Linear(width, 3), size
        self.experts = nn.ModuleList(conv(width, size, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        scores, chosen = self.gate(pooled(x)).softmax(-1).topk(2, -1)
        shares = torch.zeros(x.shape[0], 3, dtype=x.dtype).scatter(1, chosen, scores)
        y = torch.stack([expert(x) for expert in self.experts], 1)
        return (y * shares[:, :, None, None, None]).sum(1)


class Largest(Block):
    """The strongest responses of every channel."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.gate, self.out = conv(width, size), nn.Linear(4 * width, size), size

    def forward(self, x: Tensor) -> Tensor:
        top = x.flatten(2).topk(4, dim=2).values
        return self.conv(x) * self.gate(top.flatten(1)).sigmoid()[:, :, None, None]


class Hypernetwork(Block):
    """Kernels made from the mean of all images."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.make, self.out, self.width = nn.Linear(width, 2 * width), 2, width

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.make(pooled(x).mean(0)).view(2, -1, 1, 1)
        return F.conv2d(x, kernel)


class Chosen(Block):
    """`where`, comparisons and clamps."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.low, self.out = conv(width, size), conv(width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return torch.where(y > 0, y.clamp(max=2.0), self.low(x)) * (y < 3)


class Flattened(Block):
    """A linear layer on everything, and back."""

    fixed = ("up",)

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up, self.out = nn.Linear(16 * width, size), nn.Linear(size, 64), 1

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.down(F.avg_pool2d(x, 2).flatten(1)))
        return self.up(y).view(-1, 1, 8, 8)


class Prototypes(Block):
    """Distances from learnt points."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.points, self.out = nn.Parameter(torch.randn(1, size, width)), size

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        distances = torch.cdist(x.flatten(2).transpose(1, 2), self.points)
        return distances.transpose(1, 2).reshape(b, -1, h, w) / 4


class Outer(Block):
    """Every channel of one branch times every channel of another."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.a, self.b, self.leave = conv(width, size, 1), conv(width, 2, 1), conv(2 * size, 4, 1)
        self.out = 4

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x).unsqueeze(2) * self.b(x).unsqueeze(1)
        return self.leave(y.flatten(1, 2))


class PerImage(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.fc, self.out = nn.Linear(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        def one(picture: Tensor) -> Tensor:
            return self.fc(picture.permute(1, 2, 0)).permute(2, 0, 1)

        return torch.vmap(one)(x)


class Listed(Block):
    """Branches in a list, chosen by their number."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(width, size, kernel) for kernel in (1, 3, 5))
        self.share, self.out = nn.Parameter(torch.zeros(3)), size

    def forward(self, x: Tensor) -> Tensor:
        shares = self.share.softmax(0)
        return sum(share * layer(x) for share, layer in zip(shares, self.convs, strict=True))


class TwoScales(Block):
    """HRNet's exchange between two resolutions."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.high, self.low = conv(width, size), nn.Conv2d(width, size, 3, 2, 1)
        self.up, self.out = conv(size, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        low = F.relu(self.low(x))
        return F.relu(self.high(x) + F.interpolate(self.up(low), scale_factor=2, mode="nearest"))


class Correlated(Block):
    """A template slides over its image, channel by channel."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        b, c, h, w = y.shape
        template = F.adaptive_avg_pool2d(y, 3).reshape(b * c, 1, 3, 3)
        z = F.conv2d(y.reshape(1, b * c, h, w), template, padding=1, groups=b * c)
        return z.view(b, c, h, w)
