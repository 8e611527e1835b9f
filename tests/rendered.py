"""Photographs small enough to render in an instant."""

from __future__ import annotations

import torch

from widthwise.data.rendering.settings import RenderSettings
from widthwise.data.rendering.studio import Still

SMALL = RenderSettings(width=64, height=48, smallest=8, largest=20)


def still(seed: int) -> Still:
    """A smooth photograph with one thing in it."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 6, 8, generator=generator) * 255
    pixels = torch.nn.functional.interpolate(coarse, size=(96, 128), mode="bilinear")[0]
    regions = torch.zeros(96, 128, dtype=torch.int64)
    regions[30:60, 40:80] = 1
    return Still(pixels=pixels.to(torch.uint8), regions=regions)
