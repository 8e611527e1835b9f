"""Blocks that treat positions as tokens."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fuzzing.blocks import Block, conv, image, tokens


class FusedAttention(Block):
    """timm's: one linear layer for queries, keys and values."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.num_heads, self.head_dim = 2, size
        self.scale = self.head_dim**-0.5
        self.norm, self.qkv = nn.LayerNorm(width), nn.Linear(width, 3 * 2 * size)
        self.proj, self.out = nn.Linear(2 * size, width), width

    def forward(self, x: Tensor) -> Tensor:
        t = self.norm(tokens(x))
        b, n, _ = t.shape
        qkv = self.qkv(t).reshape(b, n, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        scores = (q * self.scale) @ k.transpose(-2, -1)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(b, n, self.num_heads * self.head_dim)
        return x + image(self.proj(y))


class SeparateAttention(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.heads, inner = 2, 2 * size
        self.q, self.k = nn.Linear(width, inner), nn.Linear(width, inner, bias=False)
        self.v, self.proj, self.out = nn.Linear(width, inner), nn.Linear(inner, size), size

    def forward(self, x: Tensor) -> Tensor:
        t = tokens(x)
        b, n, _ = t.shape
        q, k, v = (
            layer(t).view(b, n, self.heads, -1).transpose(1, 2)
            for layer in (self.q, self.k, self.v)
        )
        y = F.scaled_dot_product_attention(q, k, v)
        return image(self.proj(y.transpose(1, 2).flatten(2)))


class Multihead(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.attn = nn.Linear(width, 2 * size), nn.MultiheadAttention(2 * size, 2)
        self.out = 2 * size

    def forward(self, x: Tensor) -> Tensor:
        t = self.enter(tokens(x)).transpose(0, 1)
        return image((t + self.attn(t, t, t, need_weights=False)[0]).transpose(0, 1))


class EncoderLayer(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter = nn.Linear(width, 2 * size)
        self.layer = nn.TransformerEncoderLayer(2 * size, 2, 3 * size, 0.0, batch_first=True)
        self.out = 2 * size

    def forward(self, x: Tensor) -> Tensor:
        return image(self.layer(self.enter(tokens(x))))


class CrossAttention(Block):
    """Queries are learnt, keys and values come from the image."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, 64, size))
        self.kv, self.proj, self.out = nn.Linear(width, 2 * size), nn.Linear(size, width), width

    def forward(self, x: Tensor) -> Tensor:
        k, v = self.kv(tokens(x)).chunk(2, -1)
        q = self.queries.expand(x.shape[0], -1, -1)
        return image(self.proj(F.scaled_dot_product_attention(q, k, v)))


class ChannelAttention(Block):
    """XCiT's: channels attend to channels."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.heads, self.qkv = 2, nn.Linear(width, 3 * 2 * size)
        self.temperature = nn.Parameter(torch.ones(2, 1, 1))
        self.proj, self.out = nn.Linear(2 * size, width), width

    def forward(self, x: Tensor) -> Tensor:
        t = tokens(x)
        b, n, _ = t.shape
        qkv = self.qkv(t).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 4, 1)
        q, k, v = qkv[0], qkv[1], qkv[2]
        q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
        scores = (q @ k.transpose(-2, -1) * self.temperature).softmax(-1)
        return x + image(self.proj((scores @ v).permute(0, 3, 1, 2).reshape(b, n, -1)))


class LinearAttention(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.qkv, self.proj, self.out = conv(width, 3 * size, 1), conv(size, size, 1), size

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        q, k, v = self.qkv(x).flatten(2).chunk(3, 1)
        context = F.relu(k) @ v.transpose(1, 2) / (h * w)
        return self.proj((context.transpose(1, 2) @ F.relu(q)).view(b, -1, h, w))


class NonLocal(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.theta, self.phi = conv(width, size, 1), conv(width, size, 1)
        self.g, self.w, self.out = conv(width, size, 1), conv(size, width, 1), width

    def forward(self, x: Tensor) -> Tensor:
        b, _, h, w = x.shape
        scores = torch.bmm(self.theta(x).flatten(2).transpose(1, 2), self.phi(x).flatten(2))
        y = torch.bmm(scores / scores.shape[-1], self.g(x).flatten(2).transpose(1, 2))
        return x + self.w(y.transpose(1, 2).reshape(b, -1, h, w))


class Mixer(Block):
    fixed = ("mix2",)

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.norm, self.mix1 = nn.LayerNorm(width), nn.Linear(64, size)
        self.mix2 = nn.Linear(size, 64)
        self.fc1, self.fc2, self.out = nn.Linear(width, size), nn.Linear(size, width), width

    def forward(self, x: Tensor) -> Tensor:
        t = tokens(x)
        t = t + self.mix2(F.gelu(self.mix1(self.norm(t).transpose(1, 2)))).transpose(1, 2)
        return image(t + self.fc2(F.gelu(self.fc1(t))))


class Windows(Block):
    """Attention in windows of 4x4, shifted, with a bias per pair of positions."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.heads, self.qkv = 2, nn.Linear(width, 3 * 2 * size)
        self.bias = nn.Parameter(torch.zeros(2, 16, 16))
        self.proj, self.out = nn.Linear(2 * size, width), width

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y = torch.roll(x, (-2, -2), (2, 3)).permute(0, 2, 3, 1)
        y = y.view(b, 2, 4, 2, 4, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, c)
        q, k, v = self.qkv(y).view(len(y), 16, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        scores = (q @ k.transpose(-1, -2) * 0.5 + self.bias).softmax(-1)
        y = self.proj((scores @ v).transpose(1, 2).reshape(len(y), 16, -1))
        y = y.view(b, 2, 2, 4, 4, c).permute(0, 5, 1, 3, 2, 4).reshape(b, c, h, w)
        return x + torch.roll(y, (2, 2), (2, 3))


class Positioned(Block):
    """An embedding of positions, a class token, and a transformer's feed-forward part."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(1, 65, width) * 0.1)
        self.token = nn.Parameter(torch.randn(1, 1, width))
        self.norm, self.fc1 = nn.LayerNorm(width), nn.Linear(width, size)
        self.fc2, self.out = nn.Linear(size, width), width

    def forward(self, x: Tensor) -> Tensor:
        t = torch.cat((self.token.expand(x.shape[0], -1, -1), tokens(x)), 1) + self.position
        t = t + self.fc2(F.gelu(self.fc1(self.norm(t))))
        return image(t[:, 1:] + t[:, :1])


class GatedUnit(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.enter, self.leave, self.out = nn.Linear(width, 2 * size), nn.Linear(size, width), width

    def forward(self, x: Tensor) -> Tensor:
        value, gate = self.enter(tokens(x)).chunk(2, -1)
        return x + image(self.leave(value * F.silu(gate)))


class Einsum(Block):
    counts_one_differently = True

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(width, 2, size) / width)
        self.second, self.out = nn.Parameter(torch.randn(2, size, size) / size), size

    def forward(self, x: Tensor) -> Tensor:
        y = torch.einsum("bchw,cns->bnshw", x, self.first)
        return torch.einsum("bnshw,nst->bthw", y.relu(), self.second)


class RowsLstm(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, size, batch_first=True, bidirectional=True)
        self.out = 2 * size

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        y, _ = self.lstm(x.permute(0, 2, 3, 1).reshape(b * h, w, c))
        return y.reshape(b, h, w, -1).permute(0, 3, 1, 2)


class TokenGru(Block):
    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gru, self.out = nn.GRU(width, size, batch_first=True), size

    def forward(self, x: Tensor) -> Tensor:
        return image(self.gru(tokens(x))[0])


class Cell(Block):
    """A recurrent cell over four quarters of the rows."""

    def __init__(self, width: int, size: int) -> None:
        super().__init__()
        self.gates, self.size = conv(width + size, 4 * size), size
        self.out = size

    def forward(self, x: Tensor) -> Tensor:
        hidden = x.new_zeros(x.shape[0], self.size, 8, 8)
        cell = torch.zeros_like(hidden)
        for _ in range(2):
            i, f, o, g = self.gates(torch.cat((x, hidden), 1)).chunk(4, 1)
            cell = f.sigmoid() * cell + i.sigmoid() * g.tanh()
            hidden = o.sigmoid() * cell.tanh()
        return hidden
