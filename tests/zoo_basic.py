"""Networks for the cases: the structures of ordinary convolutional networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import StochasticDepth as DropPath


def conv_bn(c_in: int, c_out: int, kernel: int = 3, **options: int) -> nn.Sequential:
    """Convolution that keeps the size, then batch normalisation."""
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False, **options)
    return nn.Sequential(conv, nn.BatchNorm2d(c_out))


class Head(nn.Module):
    """Global average pooling and a classifier."""

    def __init__(self, width: int, classes: int = 5) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.mean((2, 3)))


class Chain(nn.Sequential):
    """Nothing hard: convolutions one after another, and a classifier."""

    def __init__(self) -> None:
        super().__init__(conv_bn(3, 8), nn.ReLU(), nn.MaxPool2d(2), conv_bn(8, 12), nn.ReLU())
        self.append(Head(12))


class NoBias(nn.Sequential):
    """Convolutions with neither bias nor normalisation after them."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, bias=False), nn.SiLU(), nn.Conv2d(8, 6, 1, bias=False), Head(6)
        )


class ResidualAdd(nn.Module):
    """Three producers and the stem share one axis through two additions."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv_bn(8, 6), nn.ReLU(), conv_bn(6, 8)) for _ in range(2)
        )
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.head(x)


class ResidualProjection(nn.Module):
    """A stage that doubles the width; the 1x1 shortcut ties with the block's last convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.body = nn.Sequential(conv_bn(6, 10, stride=2), nn.ReLU(), conv_bn(10, 12))
        self.shortcut = conv_bn(6, 12, kernel=1, stride=2)
        self.next = nn.Sequential(conv_bn(12, 8), nn.ReLU(), conv_bn(8, 12))
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.body(x) + self.shortcut(x))
        return self.head(F.relu(x + self.next(x)))


class PreActivation(nn.Module):
    """Normalisation before the convolution: its statistics belong to the axis it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norm1, self.conv1 = nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3, padding=1)
        self.norm2, self.conv2 = nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3, padding=1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.conv1(F.relu(self.norm1(x)))
        return self.head(x + self.conv2(F.relu(self.norm2(y))))


class DenseConcat(nn.Module):
    """Every layer reads the concatenation of all earlier ones."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(6 + 4 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(6 + 4 * i, 4, 3, padding=1) for i in range(3))
        self.head = Head(18)

    def forward(self, x: Tensor) -> Tensor:
        features = [self.stem(x)]
        for norm, conv in zip(self.norms, self.convs, strict=True):
            features.append(conv(F.relu(norm(torch.cat(features, 1)))))
        return self.head(torch.cat(features, 1))


class Depthwise(nn.Module):
    """An inverted residual: the depth-wise convolution's output is its input's axis."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.expand, self.depthwise = conv_bn(6, 18, 1), conv_bn(18, 18, 3, groups=18)
        self.project = conv_bn(18, 6, 1)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu6(self.stem(x))
        y = F.relu6(self.depthwise(F.relu6(self.expand(x))))
        return self.head(x + self.project(y))


class GroupedConv(nn.Module):
    """A ResNeXt block: a whole group of the grouped convolution lives or dies together."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.reduce, self.grouped = conv_bn(8, 12, 1), conv_bn(12, 12, 3, groups=4)
        self.expand = conv_bn(12, 8, 1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = F.relu(self.grouped(F.relu(self.reduce(x))))
        return self.head(F.relu(x + self.expand(y)))


class FlattenLinear(nn.Sequential):
    """Flattening turns each channel into sixteen columns of the linear layer."""

    def __init__(self) -> None:
        super().__init__(conv_bn(3, 6), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.extend((nn.Linear(96, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 5)))


class TransposedConv(nn.Sequential):
    """Transposed convolutions: the weight's first dimension is the input."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.append(nn.ConvTranspose2d(8, 6, 4, stride=2, padding=1, bias=False))
        self.extend((nn.BatchNorm2d(6), nn.ReLU(), nn.ConvTranspose2d(6, 3, 3, padding=1)))


class TransposedDepthwise(nn.Sequential):
    """A depth-wise and a grouped transposed convolution."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 8, 2, stride=2, groups=8),
            nn.ReLU(),
            nn.ConvTranspose2d(8, 12, 2, stride=2, groups=4),
            Head(12),
        )


class PixelShuffle(nn.Module):
    """Sub-pixel upsampling: r*r neighbouring channels become one, under a long skip (EDSR)."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(3, 8, 3, padding=1)
        self.body = nn.Sequential(nn.Conv2d(8, 6, 3, padding=1), nn.ReLU())
        self.body.append(nn.Conv2d(6, 8, 3, padding=1))
        self.up = nn.Sequential(nn.Conv2d(8, 20, 3, padding=1), nn.PixelShuffle(2))
        self.tail = nn.Conv2d(5, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.head(x)
        return self.tail(self.up(x + self.body(x)))


class PixelUnshuffle(nn.Module):
    """Space to depth on features: one channel becomes four neighbours (FFDNet turned inwards)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.down = nn.PixelUnshuffle(2)
        self.conv = nn.Conv2d(16, 12, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(self.down(F.relu(self.stem(x)))), 2)


class SqueezeExcite(nn.Module):
    """A gate computed from pooled channels multiplies the channels it came from."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv_bn(3, 12)
        self.down, self.up = nn.Conv2d(12, 4, 1), nn.Conv2d(4, 12, 1)
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        gate = self.up(F.relu(self.down(F.adaptive_avg_pool2d(x, 1))))
        return self.head(x * torch.sigmoid(gate))


class UnetSkip(nn.Module):
    """Encoder features meet upsampled decoder features in a concatenation."""

    def __init__(self) -> None:
        super().__init__()
        self.enc1, self.enc2 = conv_bn(3, 6), conv_bn(6, 10)
        self.up = nn.ConvTranspose2d(10, 6, 2, stride=2)
        self.dec = conv_bn(12, 6)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.enc1(x))
        coarse = F.relu(self.enc2(F.max_pool2d(fine, 2)))
        return self.out(F.relu(self.dec(torch.cat((fine, self.up(coarse)), 1))))


class Interpolate(nn.Module):
    """A feature pyramid step: resized features are added to finer ones."""

    def __init__(self) -> None:
        super().__init__()
        self.fine, self.coarse = conv_bn(3, 8), conv_bn(8, 8, stride=2)
        self.out = nn.Conv2d(8, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        fine = F.relu(self.fine(x))
        coarse = F.interpolate(self.coarse(fine), size=fine.shape[-2:], mode="bilinear")
        return self.out(fine + F.interpolate(coarse, scale_factor=1.0, mode="nearest"))


class BlurPool(nn.Module):
    """A fixed kernel in a buffer, expanded to as many groups as the features have channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = conv_bn(3, 8), conv_bn(8, 6)
        row = torch.tensor([1.0, 2.0, 1.0]) / 4
        self.register_buffer("kernel", (row[:, None] * row)[None, None].repeat(8, 1, 1, 1))
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(F.relu(self.conv(x)), (1, 1, 1, 1), mode="reflect")
        x = F.conv2d(x, self.kernel, stride=2, groups=x.shape[1])
        return self.head(F.relu(self.last(x)))


class AdaptivePool(nn.Module):
    """Pyramid pooling (PSPNet): branches of pooled features are resized and concatenated."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.branches = nn.ModuleList(
            nn.Sequential(nn.AdaptiveAvgPool2d(size), nn.Conv2d(8, 3, 1)) for size in (1, 2, 4)
        )
        self.out = nn.Conv2d(17, 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        pooled = [F.interpolate(branch(x), size=x.shape[-2:]) for branch in self.branches]
        return self.out(torch.cat((x, *pooled), 1))


class Prelu(nn.Sequential):
    """PReLU with a slope for each channel, and one with a single slope for all."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3), nn.PReLU(8), nn.Conv2d(8, 6, 3), nn.PReLU(), Head(6))


class InstanceNorm(nn.Sequential):
    """Instance normalisation with and without parameters and statistics."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 8, 3), nn.InstanceNorm2d(8, affine=True), nn.ReLU())
        self.extend((nn.Conv2d(8, 6, 3), nn.InstanceNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3)))
        self.extend((nn.InstanceNorm2d(6, affine=True, track_running_stats=True), Head(6)))


class GroupNorm(nn.Sequential):
    """Each normalisation group lives or dies together."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 12, 3), nn.GroupNorm(4, 12), nn.ReLU())
        self.extend((nn.Conv2d(12, 8, 3), nn.GroupNorm(8, 8), nn.ReLU(), Head(8)))


class Conv1d(nn.Sequential):
    """One space dimension."""

    def __init__(self) -> None:
        super().__init__(nn.Conv1d(4, 8, 3, bias=False), nn.BatchNorm1d(8), nn.ReLU())
        self.extend((nn.MaxPool1d(2), nn.Conv1d(8, 8, 3, groups=8), nn.Conv1d(8, 6, 1)))
        self.extend((nn.AdaptiveAvgPool1d(2), nn.Flatten(), nn.Linear(12, 3)))


class Conv3d(nn.Sequential):
    """Three space dimensions."""

    def __init__(self) -> None:
        super().__init__(nn.Conv3d(2, 6, 3, bias=False), nn.BatchNorm3d(6), nn.ReLU())
        self.extend((nn.Conv3d(6, 4, (1, 3, 3)), nn.ReLU(), nn.AdaptiveAvgPool3d(1)))
        self.extend((nn.Flatten(), nn.Linear(4, 3)))


class StochasticDepth(nn.Module):
    """A residual branch that training drops at random: the graph is the same either way."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.drop = conv_bn(3, 8), DropPath(0.5, "row")
        self.block = nn.Sequential(conv_bn(8, 6), nn.ReLU(), nn.Dropout2d(0.3), conv_bn(6, 8))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        return self.head(x + self.drop(self.block(x)))


class GlobalResidual(nn.Module):
    """The image itself is added to the output (VDSR, DnCNN): both ends are frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), conv_bn(8, 6))
        self.body.extend((nn.ReLU(), nn.Conv2d(6, 3, 3, padding=1)))

    def forward(self, x: Tensor) -> Tensor:
        return x - self.body(x)


class InplaceOps(nn.Module):
    """In-place activations and sums: a tensor's channels are tied through the name it had."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv_bn(3, 8), conv_bn(8, 8), conv_bn(8, 8)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x), inplace=True)
        y = self.a(x)
        y += x
        y.relu_().mul_(0.5)
        y.add_(self.b(y))
        return self.head(y)
