"""Networks for the cases: splits, shared and missing parts, odd signatures, unknown operations."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from zoo_basic import Head, conv_bn


class ChannelShuffle(nn.Module):
    """A ShuffleNetV2 block: halves, concatenation and a transpose that mixes the two."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8)
        self.branch = nn.Sequential(conv_bn(4, 4, 1), nn.ReLU(), conv_bn(4, 4, 3, groups=4))
        self.last = conv_bn(8, 6, 1)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for _ in range(2):
            left, right = x.chunk(2, dim=1)
            x = torch.cat((left, self.branch(right)), 1)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return self.head(F.relu(self.last(x)))


class RadixSoftmax(nn.Module):
    """Split attention (ResNeSt): two groups must both stay, so both narrow alike."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.split = conv_bn(3, 8), conv_bn(8, 12, groups=2)
        self.down, self.up = nn.Conv2d(6, 4, 1), nn.Conv2d(4, 12, 1)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.split(F.relu(self.stem(x))))
        n, c, h, w = x.shape
        parts = x.reshape(n, 2, c // 2, h, w)
        gate = self.up(F.relu(self.down(parts.sum(1).mean((2, 3), keepdim=True))))
        gate = gate.reshape(n, 2, c // 2, 1, 1).softmax(1)
        return self.head((parts * gate).sum(1))


class ChunkGlu(nn.Module):
    """Gated units: the two halves of one convolution meet in a product."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next = nn.Conv2d(3, 16, 3), nn.Conv2d(8, 12, 3)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.conv(x).chunk(2, dim=1)
        return self.head(F.glu(self.next(value * gate.sigmoid()), dim=1))


class UnequalSplit(nn.Module):
    """A split with sizes written into the code."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = conv_bn(3, 16)
        self.large, self.small = conv_bn(12, 6), conv_bn(4, 6)
        self.head = Head(6)

    def forward(self, x: Tensor) -> Tensor:
        large, small = torch.split(F.relu(self.conv(x)), [12, 4], dim=1)
        return self.head(F.relu(self.large(large) + self.small(small)))


class TypeAShortcut(nn.Module):
    """A parameter-free shortcut: subsampled, then padded with zero channels (CIFAR ResNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 6)
        self.body = nn.Sequential(conv_bn(6, 12, stride=2), nn.ReLU(), conv_bn(12, 12))
        self.head = Head(12)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 3, 3))
        return self.head(F.relu(self.body(x) + shortcut))


class CatWithItself(nn.Module):
    """One tensor twice in a concatenation: both copies live or die together (CReLU)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.next = conv_bn(3, 6), conv_bn(12, 8)
        self.head = Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        x = self.next(F.relu(torch.cat((x, -x), 1)))
        return self.head(torch.cat((x, x), 1))


class BranchReused(nn.Module):
    """One branch feeds an addition, a concatenation and a product."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = conv_bn(3, 6), conv_bn(3, 6)
        self.c, self.d = conv_bn(12, 8), conv_bn(6, 8)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        return self.head(self.c(torch.cat((b, a), 1)) * torch.sigmoid(self.d(a + b)))


class StackSum(nn.Module):
    """Branches are stacked along a new dimension and summed away."""

    def __init__(self) -> None:
        super().__init__()
        self.branches = nn.ModuleList(conv_bn(3, 8, k) for k in (1, 3, 5))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(torch.stack([b(x) for b in self.branches], dim=1).sum(1)))


class SharedModule(nn.Module):
    """One convolution called twice: what it reads and what it makes become one axis."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv = conv_bn(3, 8), conv_bn(8, 8)
        self.mid, self.head = conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.relu(self.conv(F.relu(self.stem(x)))))
        return self.head(F.relu(self.mid(x)))


class TiedWeights(nn.Module):
    """Two modules hold the same Parameter, and a third use of it is transposed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.encode, self.again = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1)
        self.again.weight = self.encode.weight
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(x))
        y = F.relu(self.encode(x) + self.again(x.flip(-1)))
        return self.head(F.conv_transpose2d(y, self.encode.weight))


class UnusedModule(nn.Module):
    """A layer that `forward` never calls keeps its width and stays out of the cost in MACs."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.spare, self.head = conv_bn(3, 8), conv_bn(8, 8), Head(8)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(x)))


class TwoHeads(nn.Module):
    """Two outputs in a tuple; what lies between stays free."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.neck = conv_bn(3, 8), conv_bn(8, 6)
        self.boxes, self.classes = nn.Conv2d(6, 4, 1), Head(8)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = F.relu(self.stem(x))
        return self.boxes(F.relu(self.neck(x))), self.classes(x)


class NestedOutput(nn.Module):
    """Outputs inside a dict of lists, one of them an inner feature map, which must not change."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = conv_bn(3, 8), conv_bn(8, 6), conv_bn(6, 4)

    def forward(self, x: Tensor) -> dict[str, list[Tensor] | Tensor]:
        a = F.relu(self.a(x))
        b = F.relu(self.b(a))
        return {"levels": [b, self.c(b)], "mean": b.mean()}


class AuxHeadInTrainMode(nn.Module):
    """An auxiliary head that only training runs (GoogLeNet): it narrows with what it reads."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.aux = conv_bn(3, 8), nn.Sequential(conv_bn(8, 4), nn.ReLU(), Head(4))
        self.body, self.head = conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        x = F.relu(self.stem(x))
        out = self.head(F.relu(self.body(x)))
        return (out, self.aux(x)) if self.training else out


class TwoInputs(nn.Module):
    """An image and a vector that modulates its features (FiLM)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.film, self.head = conv_bn(3, 8), nn.Linear(5, 16), Head(8)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        scale, shift = self.film(condition)[:, :, None, None].chunk(2, 1)
        return self.head(F.relu(self.conv(x) * scale + shift))


class DictInput(nn.Module):
    """Inputs by keyword, concatenated: the input's own channels stay."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = conv_bn(4, 8), Head(8)

    def forward(self, *, image: Tensor, guide: Tensor) -> Tensor:
        return self.head(F.relu(self.conv(torch.cat((image, guide), 1))))


class SiameseXcorr(nn.Module):
    """Cross-correlation (SiamFC): the features of one input are the kernel for the other's."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(conv_bn(3, 8), nn.ReLU(), conv_bn(8, 6, stride=2))

    def forward(self, exemplar: Tensor, search: Tensor) -> Tensor:
        return F.conv2d(self.features(search), self.features(exemplar))


class StandardisedConv(nn.Conv2d):
    """A convolution whose kernel is standardised for each output channel."""

    def forward(self, x: Tensor) -> Tensor:
        dims = tuple(range(1, self.weight.dim()))
        variance, mean = torch.var_mean(self.weight, dim=dims, keepdim=True, unbiased=False)
        weight = (self.weight - mean) * torch.rsqrt(variance + 1e-5)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


class WeightStandardised(nn.Sequential):
    """Kernels standardised over the channels they read: those channels share a statistic."""

    def __init__(self) -> None:
        super().__init__(StandardisedConv(3, 8, 3), nn.ReLU(), StandardisedConv(8, 6, 3), Head(6))


class WeightNorm(nn.Sequential):
    """Weight normalisation by parametrization: the tensors to narrow are its originals."""

    def __init__(self) -> None:
        first = parametrizations.weight_norm(nn.Conv2d(3, 8, 3))
        second = parametrizations.weight_norm(nn.Conv2d(8, 6, 3))
        super().__init__(first, nn.ReLU(), second, nn.ReLU(), Head(6))


class WeightNormPerInput(nn.Module):
    """Weights normalised per input channel (transposed convolutions of vocoders), in two ways."""

    def __init__(self) -> None:
        super().__init__()
        transposed, plain = nn.ConvTranspose2d(8, 6, 2, 2), nn.Conv2d(6, 7, 3)
        self.first = nn.Conv2d(3, 8, 3)
        self.up = parametrizations.weight_norm(transposed)
        self.last = parametrizations.weight_norm(plain, dim=1)
        self.head = Head(7)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.last(F.relu(self.up(F.relu(self.first(x)))))))


class WeightNormPerTap(nn.Module):
    """Weights normalised per place of the kernel, over all channels at once (wav2vec 2.0)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(3, 8, 3)
        self.position = parametrizations.weight_norm(nn.Conv1d(8, 8, 3), dim=2)
        self.last = nn.Conv1d(8, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(F.relu(self.position(F.relu(self.first(x)))).mean(2, keepdim=True))


class SpatialAttention(nn.Module):
    """A mask from the mean and maximum over all channels (CBAM)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.mask = conv_bn(3, 8), nn.Conv2d(2, 1, 3, padding=1)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        pooled = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return self.head(x * self.mask(pooled).sigmoid())


class UnknownOp(nn.Module):
    """A running sum over channels has no rule: it freezes what it touches, and only that."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = conv_bn(3, 8), conv_bn(8, 6), conv_bn(6, 8)
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.second(F.relu(self.first(x)))).cumsum(1)
        return self.head(F.relu(self.third(x)))


class SortedChannels(nn.Module):
    """Sorting over channels: an operation with two outputs, one of them whole numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        values, order = self.second(F.relu(self.first(x))).sort(dim=1)
        return self.head(values + 0.1 * order)


@torch.library.custom_op("widthwise_tests::alternate", mutates_args=())
def alternate(x: Tensor) -> Tensor:
    """Negate every other channel."""
    sign = torch.ones(x.shape[1], dtype=x.dtype, device=x.device)
    sign[1::2] = -1
    return x * sign[:, None, None]


@alternate.register_fake
def _(x: Tensor) -> Tensor:
    return torch.empty_like(x)


class CustomOp(nn.Module):
    """An operation of the user's own, from `torch.library`, without a rule."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(self.second(alternate(self.first(x)))))


class SliceAssign(nn.Module):
    """Part of a tensor is written through a slice (temporal shift)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        shifted = torch.zeros_like(x)
        shifted[:, :2, 1:] = x[:, :2, :-1]
        shifted[:, 2:] = x[:, 2:]
        return self.head(F.relu(self.second(shifted)))


class RepeatedChannels(nn.Module):
    """One channel is repeated to three; another's copies are interleaved."""

    def __init__(self) -> None:
        super().__init__()
        self.grey, self.conv = nn.Conv2d(3, 1, 1), conv_bn(3, 4)
        self.next, self.head = conv_bn(8, 6), Head(18)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.conv(self.grey(x).repeat(1, 3, 1, 1)))
        x = F.relu(self.next(x.repeat_interleave(2, dim=1)))
        return self.head(x.repeat(1, 3, 1, 1))


class ReadsValues(nn.Module):
    """The forward pass looks at a value, which the meta device does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6), Head(6)

    def forward(self, x: Tensor) -> Tensor:
        peak = x.abs().max().item()
        x = F.relu(self.first(x / peak if peak > 1 else x))
        return self.head(F.relu(self.second(x)))


class FixedWidthInForward(nn.Module):
    """A reshape to a width that the constructor stored: narrowing needs that number rewritten."""

    def __init__(self) -> None:
        super().__init__()
        self.width = 12
        self.first, self.second = conv_bn(3, 8), conv_bn(8, self.width)
        self.head = nn.Linear(self.width, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.adaptive_avg_pool2d(F.relu(self.second(F.relu(self.first(x)))), 1)
        return self.head(x.view(-1, self.width))
