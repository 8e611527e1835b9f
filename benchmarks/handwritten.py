"""Networks as people write them in their own repositories, for `reach.py`: one of each kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv(in_channels: int, channels: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, normalisation, activation."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(channels),
        nn.SiLU(),
    )


class C2f(nn.Module):
    """A cross-stage block that concatenates what every bottleneck puts out."""

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.half = channels // 2
        self.enter = conv(channels, channels, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(conv(self.half, self.half), conv(self.half, self.half))
            for _ in range(depth)
        )
        self.leave = conv((2 + depth) * self.half, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = list(self.enter(x).split((self.half, self.half), 1))
        for block in self.blocks:
            parts.append(parts[-1] + block(parts[-1]))
        return self.leave(torch.cat(parts, 1))


class Detector(nn.Module):
    """C2f backbone, top-down path, and a head per scale whose boxes are distributions."""

    bins = 16

    def __init__(self, classes: int = 20) -> None:
        super().__init__()
        self.classes = classes
        self.low = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2), C2f(32, 1))
        self.high = nn.Sequential(conv(32, 64, 3, 2), C2f(64, 2))
        self.merge = nn.Sequential(conv(96, 32, 1), C2f(32, 1))
        self.boxes = nn.ModuleList(self._head(c, 4 * self.bins) for c in (32, 64))
        self.scores = nn.ModuleList(self._head(c, classes) for c in (32, 64))
        self.register_buffer("steps", torch.arange(self.bins, dtype=torch.float32))

    def _head(self, channels: int, outputs: int) -> nn.Sequential:
        return nn.Sequential(conv(channels, 32), nn.Conv2d(32, outputs, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        low = self.low(images)
        high = self.high(low)
        up = functional.interpolate(high, scale_factor=2.0, mode="nearest")
        scales = [self.merge(torch.cat([up, low], 1)), high]
        boxes, scores = [], []
        for scale, box, score in zip(scales, self.boxes, self.scores, strict=True):
            b = box(scale).flatten(2).unflatten(1, (4, self.bins)).softmax(2)
            boxes.append(torch.einsum("nfbp,b->nfp", b, self.steps))
            scores.append(score(scale).flatten(2))
        return torch.cat(boxes, 2), torch.cat(scores, 2).sigmoid()


class UNet(nn.Module):
    """Skips by concatenation, upsampling by pixel shuffle, and the input added to the output."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width]
        self.enter = nn.Conv2d(3, width, 3, padding=1)
        self.down = nn.ModuleList(conv(a, b, 3, 2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(
            nn.Sequential(nn.Conv2d(b, 4 * a, 1), nn.PixelShuffle(2)) for a, b in pairwise(widths)
        )
        self.merge = nn.ModuleList(conv(2 * a, a) for a in widths[:-1])
        self.leave = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, images: Tensor) -> Tensor:
        x, skips = self.enter(images), []
        for down in self.down:
            skips.append(x)
            x = down(x)
        for up, merge, skip in zip(
            reversed(self.up), reversed(self.merge), reversed(skips), strict=True
        ):
            x = merge(torch.cat([up(x), skip], 1))
        return images + self.leave(x)


class SiameseTracker(nn.Module):
    """One backbone for template and search image, depth-wise cross-correlation, two heads."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(conv(3, 16, 3, 2), conv(16, 32, 3, 2), conv(32, 48))
        self.template_neck, self.search_neck = conv(48, 32), conv(48, 32)
        self.box = nn.Sequential(conv(32, 32), nn.Conv2d(32, 4, 1))
        self.score = nn.Sequential(conv(32, 32), nn.Conv2d(32, 1, 1))

    def forward(self, template: Tensor, search: Tensor) -> dict[str, Tensor]:
        kernel = self.template_neck(self.backbone(template))
        image = self.search_neck(self.backbone(search))
        batch, channels = kernel.shape[:2]
        response = functional.conv2d(
            image.reshape(1, batch * channels, *image.shape[2:]),
            kernel.reshape(batch * channels, 1, *kernel.shape[2:]),
            groups=batch * channels,
        )
        response = response.reshape(batch, channels, *response.shape[2:])
        return {"box": self.box(response), "score": self.score(response)}


class TwoTower(nn.Module):
    """An image tower and a feature tower whose embeddings meet in a product."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            conv(3, 24, 3, 2), conv(24, 48, 3, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
        self.project = nn.Linear(48, 32)
        self.query = nn.Sequential(nn.Linear(20, 64), nn.GELU(), nn.Linear(64, 32))
        self.scale = nn.Parameter(torch.tensor(1.0))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        image = functional.normalize(self.project(self.image(batch["image"])), dim=1)
        query = functional.normalize(self.query(batch["query"]), dim=1)
        return self.scale.exp() * image @ query.T


class Generator(nn.Module):
    """Noise to images: a linear layer seen as a map, then transposed convolutions."""

    def __init__(self, noise: int = 32, width: int = 32) -> None:
        super().__init__()
        self.width = width
        self.enter = nn.Linear(noise, 4 * width * 16)
        self.norm = nn.BatchNorm2d(4 * width)
        self.up = nn.Sequential(
            nn.ConvTranspose2d(4 * width, 2 * width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
        )

    def forward(self, noise: Tensor) -> Tensor:
        x = self.enter(noise).view(-1, 4 * self.width, 4, 4)
        return torch.tanh(self.up(self.norm(x).relu()))


class Crnn(nn.Module):
    """Text lines: convolutions, columns as a sequence, a bidirectional LSTM, scores per column."""

    def __init__(self, classes: int = 37) -> None:
        super().__init__()
        self.features = nn.Sequential(
            conv(1, 16), nn.MaxPool2d(2), conv(16, 32), nn.MaxPool2d(2), conv(32, 48)
        )
        self.rnn = nn.LSTM(48 * 8, 64, num_layers=2, bidirectional=True, batch_first=True)
        self.scores = nn.Linear(128, classes)

    def forward(self, lines: Tensor) -> Tensor:
        maps = self.features(lines)
        columns = maps.permute(0, 3, 1, 2).flatten(2)
        return self.scores(self.rnn(columns)[0]).log_softmax(-1)


@dataclass(frozen=True, kw_only=True)
class Handwritten:
    """One network and what it is called with."""

    build: Callable[[], nn.Module]
    inputs: Callable[[], Any]


def _image(channels: int, height: int, width: int) -> Tensor:
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(1))


NETWORKS = {
    "c2f_detector": Handwritten(build=Detector, inputs=lambda: _image(3, 64, 64)),
    "unet_pixel_shuffle": Handwritten(build=UNet, inputs=lambda: _image(3, 32, 32)),
    "siamese_tracker": Handwritten(
        build=SiameseTracker, inputs=lambda: (_image(3, 32, 32), _image(3, 64, 64))
    ),
    "two_tower": Handwritten(
        build=TwoTower, inputs=lambda: ({"image": _image(3, 32, 32), "query": torch.randn(2, 20)},)
    ),
    "gan_generator": Handwritten(build=Generator, inputs=lambda: torch.randn(2, 32)),
    "crnn": Handwritten(build=Crnn, inputs=lambda: _image(1, 32, 48)),
}
"""Name -> the network."""
