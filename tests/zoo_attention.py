"""Networks for the cases: linear layers, attention, and normalisation over channels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_basic import Head, conv_bn


class LayerScale(nn.Module):
    """A ConvNeXt block: linear layers on the last dimension and a bare parameter as scale."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 4, stride=4)
        self.depthwise, self.norm = nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.LayerNorm(8)
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)
        self.gamma = nn.Parameter(torch.full((8,), 0.5))
        self.head = Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        y = self.gamma * self.down(F.gelu(self.up(y)))
        return self.head(x + y.permute(0, 3, 1, 2))


class LayernormMlp(nn.Sequential):
    """Layer normalisation over the channels of a plain perceptron."""

    def __init__(self) -> None:
        super().__init__(nn.Flatten(), nn.Linear(768, 8), nn.LayerNorm(8), nn.GELU())
        self.extend((nn.Linear(8, 12), nn.LayerNorm(12, elementwise_affine=False)))
        self.append(nn.Linear(12, 4))


class RmsNorm(nn.Module):
    """Root-mean-square normalisation over channels, by the module and written out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.RMSNorm(8, eps=1e-6)
        self.up, self.scale = nn.Linear(8, 12), nn.Parameter(torch.ones(12))
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(self.norm(self.conv(x).flatten(2).transpose(1, 2)))
        x = x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6) * self.scale
        return self.head(x).mean(1)


class L2Normalise(nn.Module):
    """Features of unit length before the classifier, and global response normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = conv_bn(3, 8), conv_bn(8, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x))
        norm = x.norm(dim=(2, 3), keepdim=True)
        x = x * norm / (norm.mean(1, keepdim=True) + 1e-6)
        return self.head(F.normalize(self.second(x).mean((2, 3)), dim=1))


class AttentionFusedQkv(nn.Module):
    """Self-attention by hand: one linear layer makes q, k and v for a fixed number of heads."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 2
        self.embed = nn.Conv2d(3, 8, 8, stride=8)
        self.qkv, self.proj, self.head = nn.Linear(8, 24), nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        n, tokens, width = x.shape
        qkv = self.qkv(x).reshape(n, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        attention = (q @ k.transpose(-2, -1) * q.shape[-1] ** -0.5).softmax(-1)
        y = (attention @ v).transpose(1, 2).reshape(n, tokens, width)
        return self.head((x + self.proj(y)).mean(1))


class Block(nn.Module):
    """A convolution, its norm and an activation, as users wrap them."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(before, after, 1, bias=False), nn.BatchNorm2d(after)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(self.norm(self.conv(x)))


class SpatialSelfAttention(nn.Module):
    """The attention of `AttentionInBlocks`: keys are half as wide as values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.head_size = heads, width // heads
        self.key_size = self.head_size // 2
        self.scale = self.key_size**-0.5
        self.qkv = Block(width, width + 2 * self.key_size * heads)
        self.proj = Block(width, width)
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, x: Tensor) -> Tensor:
        n, width, h, w = x.shape
        qkv = self.qkv(x).view(n, self.heads, self.key_size * 2 + self.head_size, h * w)
        q, k, v = qkv.split([self.key_size, self.key_size, self.head_size], dim=2)
        y = v @ (q.transpose(-2, -1) @ k * self.scale).softmax(-1).transpose(-2, -1)
        return self.proj(y.view(n, width, h, w) + self.position(v.reshape(n, width, h, w)))


class AttentionInBlocks(nn.Module):
    """Sums of attributes shape q, k and v together; the input's width shapes the result (YOLO11).

    The only calls that see the input's width are those of a child of the user's own class.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.attention = Block(3, 16), SpatialSelfAttention(16, 2)
        self.mlp, self.head = nn.Sequential(Block(16, 24), Block(24, 16)), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x + self.attention(x)
        return self.head(x + self.mlp(x))


class AttentionSdpa(nn.Module):
    """Fused attention with separate projections and a head size that follows the shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 8, stride=8)
        self.q, self.k, self.v = nn.Linear(8, 12), nn.Linear(8, 12), nn.Linear(8, 8)
        self.proj, self.head = nn.Linear(8, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        q, k, v = (f(x).unflatten(-1, (2, -1)).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head((x + self.proj(y)).mean(1))


class Mha(nn.Module):
    """`nn.MultiheadAttention`: widths live inside a module that checks them itself."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(16, 8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.up, self.down, self.head = nn.Linear(8, 12), nn.Linear(12, 8), nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        return self.head((x + self.down(F.gelu(self.up(x)))).mean(1))


class TokenMixer(nn.Module):
    """An MLP-Mixer block: a linear layer over tokens between two transposes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(8)
        self.tokens = nn.Sequential(nn.Linear(16, 6), nn.GELU(), nn.Linear(6, 16))
        self.channels = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = x + self.tokens(self.norm(x).transpose(1, 2)).transpose(1, 2)
        return self.head((x + self.channels(x)).mean(1))


class NonLocal(nn.Module):
    """Attention over positions with 1x1 convolutions: q and k share an axis, v has its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv_bn(3, 8, stride=2)
        self.q, self.k, self.v = nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 6, 1)
        self.out, self.head = nn.Conv2d(6, 8, 1), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        q, k, v = (f(x).flatten(2) for f in (self.q, self.k, self.v))
        y = torch.bmm(v, torch.bmm(q.transpose(1, 2), k).softmax(-1).transpose(1, 2))
        return self.head(x + self.out(y.view(y.shape[0], -1, *x.shape[2:])))


class EinsumLinear(nn.Module):
    """Linear maps written as einsum and matmul with bare parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(8, 12) / 4)
        self.second = nn.Parameter(torch.randn(8, 6) / 3)
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.einsum("btc,oc->bto", x, self.first).relu()
        return self.head(torch.matmul(x, self.second).mean(1))


class Embedding(nn.Module):
    """Rows of a table looked up by whole numbers, then convolved."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Embedding(4, 8), nn.Conv1d(8, 6, 3)
        self.head = nn.Linear(6, 4)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.conv(self.table(tokens).transpose(1, 2)).relu().mean(2))


class ClassToken(nn.Module):
    """A learned token joins the sequence, and a learned position is added to it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 8, stride=8)
        self.token, self.position = (nn.Parameter(torch.randn(1, n, 8)) for n in (1, 5))
        self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 12), nn.Linear(12, 8)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(x.shape[0], -1, -1), x), 1) + self.position
        x = x + self.down(F.gelu(self.up(self.norm(x))))
        return self.head(x[:, 0])
