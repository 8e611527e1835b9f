"""Blocks of convolutional networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuzzing.blocks import Block, conv


class Plain(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, size), size

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.conv(x), 0.1)


class ConvNormAct(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(width, size, bias=False), nn.BatchNorm2d(size), nn.SiLU())
        self.out = size

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class PreActivation(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(width), conv(width, size)
        self.norm2, self.conv2 = nn.BatchNorm2d(size), conv(size, width)
        self.out = width

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv1(F.relu(self.norm1(x)))
        return x + self.conv2(F.relu(self.norm2(y)))


class Bottleneck(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.reduce, self.norm = conv(width, size, 1), nn.BatchNorm2d(size)
        self.middle, self.grow = conv(size, size), conv(size, 2 * size, 1)
        self.shortcut, self.out = conv(width, 2 * size, 1), 2 * size

    def forward(self, x: Tensor) -> Tensor:
        y = self.middle(F.relu_(self.norm(self.reduce(x))))
        y = self.grow(F.gelu(y))
        y += self.shortcut(x)
        return F.relu_(y)


class Depthwise(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.depth = conv(width, width, groups=width)
        self.point, self.out = conv(width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        return self.point(F.hardswish(self.depth(x)))


class DepthwiseMultiplier(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.depth, self.out = conv(width, 2 * width, groups=width), size
        self.point = conv(2 * width, size, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.point(torch.tanh(self.depth(x)))


class Grouped(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter = conv(width, 3 * size, 1)
        self.group, self.out = conv(3 * size, 3 * size, groups=3), 3 * size

    def forward(self, x: Tensor) -> Tensor:
        return self.group(F.relu(self.enter(x)))


class Transposed(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.up, self.out = nn.ConvTranspose2d(width, size, 2, stride=2), size

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.up(x), 2)


class TransposedDepthwise(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.up, self.out = nn.ConvTranspose2d(width, width, 2, stride=2, groups=width), width

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.up(x), 2)


class InvertedResidual(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        inner = 2 * size
        self.expand, self.depth = conv(width, inner, 1), conv(inner, inner, 5, groups=inner)
        self.squeeze, self.excite = nn.Linear(inner, size), nn.Linear(size, inner)
        self.project, self.norm = conv(inner, width, 1), nn.BatchNorm2d(inner)
        self.out = width

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.depth(F.relu6(self.expand(x))))
        gate = self.excite(F.silu(self.squeeze(y.mean((2, 3))))).sigmoid()
        return x + self.project(y * gate[:, :, None, None])


class SpatialGate(Block):
    """CBAM's second half: statistics over channels, at every position."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(2, 1), width

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * self.conv(both).sigmoid()


class ShuffleUnit(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.right, self.out = conv(width, 2 * size, 1), conv(size, size), 2 * size

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.enter(x).chunk(2, 1)
        y = torch.cat((left, F.relu(self.right(right))), 1)
        b, c, h, w = y.shape
        return y.view(b, 2, c // 2, h, w).transpose(1, 2).reshape(b, c, h, w)


class Ghost(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.primary, self.cheap = conv(width, size, 1), conv(size, size, groups=size)
        self.out = 2 * size

    def forward(self, x: Tensor) -> Tensor:
        first = F.relu(self.primary(x))
        return torch.cat([first, F.relu(self.cheap(first))], dim=1)


class Dense(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.norm, self.conv1 = nn.BatchNorm2d(width), conv(width, size)
        self.conv2, self.out = conv(width + size, size), width + 2 * size

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        features.append(self.conv1(F.relu(self.norm(x))))
        features.append(self.conv2(torch.cat(features, 1)))
        return torch.cat(features, 1)


class Res2(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size, self.enter = size, conv(width, 3 * size, 1)
        self.convs = nn.ModuleList(conv(size, size) for _ in range(2))
        self.out = 3 * size

    def forward(self, x: Tensor) -> Tensor:
        parts = torch.split(self.enter(x), self.size, 1)
        made = [self.convs[0](parts[0])]
        made.append(self.convs[1](made[0] + parts[1]))
        return torch.cat((*made, parts[2]), 1)


class Inception(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.a, self.b = conv(width, size, 1), nn.Sequential(conv(width, 2, 1), conv(2, size + 1))
        self.c, self.out = conv(width, 2, 1), 2 * size + 3

    def forward(self, x: Tensor) -> Tensor:
        pool = F.max_pool2d(x, 3, 1, 1)
        return torch.cat((self.a(x), self.b(x), self.c(pool)), 1)


class Shuffle(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.up, self.out = conv(width, 4 * size), nn.PixelShuffle(2), size

    def forward(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(self.up(self.conv(x)), 2)


class Unshuffle(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(4 * width, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(self.conv(F.pixel_unshuffle(x, 2)), scale_factor=2.0)


class Focus(Block):
    """Every second pixel, as channels."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(2 * width, size), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(torch.cat((x[..., ::2, :], x[..., 1::2, :]), 1))
        return F.interpolate(y, size=(8, 8), mode="bilinear")


class SpaceToDepth(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(4 * width, 4 * size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = x.view(b, c, h // 2, 2, w // 2, 2).permute(0, 3, 5, 1, 2, 4)
        y = self.conv(y.reshape(b, c * 4, h // 2, w // 2))
        y = y.view(b, 2, 2, -1, h // 2, w // 2).permute(0, 3, 4, 1, 5, 2)
        return y.reshape(b, -1, h, w)


class SelectiveKernel(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList((conv(width, size), conv(width, size, 5)))
        self.squeeze, self.scores = conv(size, 4, 1), conv(4, 2 * size, 1)
        self.out = size

    def forward(self, x: Tensor) -> Tensor:
        y = torch.stack([branch(x) for branch in self.branches], 1)
        scores = self.scores(F.relu(self.squeeze(y.sum(1).mean((2, 3), keepdim=True))))
        shares = scores.view(x.shape[0], 2, -1, 1, 1).softmax(1)
        return (y * shares).sum(1)


class SplitAttention(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.size, self.conv = size, conv(width, 2 * size)
        self.fc1, self.fc2, self.out = conv(size, 4, 1), conv(4, 2 * size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = y.reshape(y.shape[0], 2, y.shape[1] // 2, *y.shape[2:])
        gap = y.sum(1).mean((2, 3), keepdim=True)
        shares = self.fc2(F.relu(self.fc1(gap))).view(x.shape[0], 1, 2, -1)
        shares = shares.transpose(1, 2).softmax(1).reshape(x.shape[0], 2, -1, 1, 1)
        return (y * shares).sum(1)


class Unet(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.down, self.up = conv(width, size), nn.ConvTranspose2d(size, size, 2, stride=2)
        self.fuse, self.out = conv(width + size, size), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(F.relu(self.down(F.max_pool2d(x, 2))))
        return self.fuse(torch.cat((y, x), 1))


class Coordinates(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width + 2, size), size

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        rows = torch.linspace(-1, 1, h, dtype=x.dtype, device=x.device)
        columns = torch.linspace(-1, 1, w, dtype=x.dtype, device=x.device)
        grid = torch.stack(torch.meshgrid(rows, columns, indexing="ij"))
        return self.conv(torch.cat((x, grid.expand(b, 2, h, w)), 1))


class Shared(Block):
    """One convolution and one norm, called twice."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.conv = conv(width, size, 1), conv(size, size)
        self.norm, self.out = nn.BatchNorm2d(size), size

    def forward(self, x: Tensor) -> Tensor:
        y = self.enter(x)
        return self.norm(self.conv(F.relu(self.norm(self.conv(y)))))


class PaddedShortcut(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = conv(width, width + size), width + size

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + F.pad(x, (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))


class Reflected(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(width, size, 3), size

    def forward(self, x: Tensor) -> Tensor:
        return F.elu(self.conv(F.pad(x, (1, 1, 1, 1), mode="reflect")))


class Rows(Block):
    """A convolution over columns of every row."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(width, size, 3, padding=1), size

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = self.conv(x.transpose(1, 2).reshape(b * h, c, w))
        return y.view(b, h, -1, w).transpose(1, 2)


class Volume(Block):
    """A convolution in three dimensions over two halves."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv3d(width, size, (2, 3, 3), padding=(0, 1, 1)), size

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.stack((x, x.flip(3)), 2)).squeeze(2)


class Pyramid(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.whole, self.parts = conv(width, size, 1), conv(width, size, 1)
        self.fuse, self.out = conv(2 * size, size), size

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_avg_pool2d(x, 1)
        z = F.interpolate(self.parts(F.adaptive_avg_pool2d(x, 2)), (8, 8), mode="nearest")
        return self.fuse(torch.cat([self.whole(y).expand_as(z), z], 1))
