"""Networks for the cases: widths kept in attributes, parts of constant size, recurrent layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_basic import Head, conv_bn


class SplitSizesInAttribute(nn.Module):
    """Unequal parts whose sizes are kept in a tuple (EfficientViT, SHViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes = (10, 4)
        self.conv, self.part, self.head = conv_bn(3, 14), conv_bn(4, 4), Head(14)

    def forward(self, x: Tensor) -> Tensor:
        large, small = torch.split(F.relu(self.conv(x)), self.sizes, dim=1)
        return self.head(torch.cat([large, F.relu(self.part(small))], 1))


class SplitWidthInAttribute(nn.Module):
    """Parts of equal size, added one after the other; their size is an attribute (Res2Net)."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 4
        self.conv, self.head = conv_bn(3, 12), Head(12)
        self.parts = nn.ModuleList([conv_bn(4, 4) for _ in range(2)])

    def forward(self, x: Tensor) -> Tensor:
        first, *rest = torch.split(F.relu(self.conv(x)), self.width, dim=1)
        outs = [first]
        for conv, part in zip(self.parts, rest, strict=True):
            outs.append(F.relu(conv(outs[-1] + part)))
        return self.head(torch.cat(outs, 1))


class PartialAdd(nn.Module):
    """The shortcut is added to the first channels only; their number is an attribute (ReXNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.channels = 5
        self.stem, self.conv, self.head = conv_bn(3, 5), conv_bn(5, 8), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        y = self.conv(x)
        return self.head(torch.cat([y[:, : self.channels] + x, y[:, self.channels :]], 1))


class StandardisedByBatchNorm(nn.Module):
    """Weights standardised by a batch norm over their input channels (BiT, NFNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), nn.Conv2d(8, 6, 3), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.second.weight
        flat = F.batch_norm(weight.reshape(1, weight.shape[0], -1), None, None, training=True)
        return self.head(F.relu(F.conv2d(F.relu(self.first(x)), flat.reshape_as(weight))))


class HeadSizeInAttribute(nn.Module):
    """Attention with the number of heads, their size and the width kept in attributes (timm)."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.head_size, self.dim = 2, 4, 8
        self.embed, self.qkv = nn.Linear(6, 10), nn.Linear(10, 24)
        self.proj, self.head = nn.Linear(8, 10), nn.Linear(10, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        b, n, _ = x.shape
        qkv = self.qkv(x).reshape(b, n, 3, self.heads, self.head_size).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        weights = (q @ k.transpose(-2, -1) * self.head_size**-0.5).softmax(-1)
        y = (weights @ v).transpose(1, 2).reshape(b, n, self.dim)
        return self.head((x + self.proj(y)).mean(1))


class SlidingWindows(nn.Module):
    """Windows of pixels by `Tensor.unfold` (HaloNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6, 1), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        windows = F.relu(self.first(x)).unfold(2, 2, 2).unfold(3, 2, 2)
        return self.head(F.relu(self.second(windows.mean((-2, -1)))))


class Lstm(nn.Module):
    """Columns of features through a bidirectional LSTM of two layers (CRNN)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.lstm = nn.LSTM(16, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x)).permute(0, 3, 1, 2).flatten(2)
        return self.head(self.lstm(x)[0])


class Gru(nn.Module):
    """A GRU whose last state is read."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.gru, self.head = nn.Linear(4, 6), nn.GRU(6, 7), nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(F.relu(self.embed(x)).transpose(0, 1))[1][-1])


class UnfoldFold(nn.Module):
    """Patches by im2col, a layer over channels and taps, and col2im back (VOLO)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.mix = conv_bn(3, 4), nn.Linear(36, 54)
        self.second, self.head = conv_bn(6, 5), Head(5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        patches = F.unfold(x, 3, padding=1).transpose(1, 2)
        y = F.fold(self.mix(patches).transpose(1, 2), x.shape[-2:], 3, padding=1)
        return self.head(F.relu(self.second(y)))


class ShapeInAttribute(nn.Module):
    """A scale per channel, viewed as a shape that an attribute keeps (MetaFormer)."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = (8, 1, 1)
        self.scale = nn.Parameter(torch.rand(8))
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x)) * self.scale.view(self.shape)
        return self.head(F.relu(self.second(x)))


class ShapeBesideBatch(nn.Module):
    """Tokens are viewed as a map, in a shape that an attribute keeps without the batch (UNETR)."""

    def __init__(self) -> None:
        super().__init__()
        self.shape = [4, 4, 12]
        self.first, self.mlp = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, 12)
        self.second, self.head = conv_bn(12, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mlp(F.relu(self.first(x)).flatten(2).transpose(1, 2))
        x = x.reshape(x.shape[0], *self.shape).permute(0, 3, 1, 2)
        return self.head(F.relu(self.second(x)))


class TwoPartsOneAttribute(nn.Module):
    """Two splits share a size that one attribute keeps, and differ in another (SHViT)."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.part, self.gate = 14, 5, 3
        self.first, self.mix, self.up = conv_bn(3, 14), conv_bn(5, 8), nn.Conv2d(3, 5, 1)
        self.head = Head(14)

    def forward(self, x: Tensor) -> Tensor:
        x, rest = F.relu(self.first(x)).split([self.part, self.dim - self.part], 1)
        gate, value = self.mix(x).split([self.gate, self.part], 1)
        return self.head(torch.cat([value * self.up(gate).sigmoid(), rest], 1))


class MultipleOfAttribute(nn.Module):
    """A linear layer seen as a map whose channels are a multiple of an attribute (generators)."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 5
        self.enter, self.norm = nn.Linear(6, 2 * 5 * 16), nn.BatchNorm2d(10)
        self.up = nn.ConvTranspose2d(10, 4, 4, 2, 1)
        self.head = Head(4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.enter(x).view(-1, 2 * self.width, 4, 4)
        return self.head(F.relu(self.up(F.relu(self.norm(x)))))


class SumOfAttributes(nn.Module):
    """Keys and values in one product, split by two attributes whose sum shapes it (HaloNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.heads, self.key, self.value = 2, 3, 5
        self.stem = conv_bn(3, 8)
        self.to_q, self.to_kv = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 16, 1)
        self.head = Head(10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        count, space = x.shape[0], x.shape[2:]
        q = self.to_q(x).reshape(count * self.heads, self.key, -1).transpose(1, 2)
        kv = self.to_kv(x).reshape(count * self.heads, self.key + self.value, -1)
        k, v = torch.split(kv, [self.key, self.value], dim=1)
        y = v @ (q @ k * 0.1).softmax(-1).transpose(1, 2)
        return self.head(y.reshape(count, self.heads * self.value, *space))
