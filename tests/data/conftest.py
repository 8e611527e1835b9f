"""Miniature data sets that tests write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImage = Callable[..., Path]


@pytest.fixture
def write_image() -> WriteImage:
    """Writes an image of noise drawn from a seed and makes its folder."""

    def write(
        path: Path, *, size: tuple[int, int] = (64, 64), mode: str = "RGB", seed: int = 0
    ) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        channels = len(Image.new(mode, (1, 1)).getbands())
        values = np.random.default_rng(seed).integers(0, 256, (*size, channels), dtype=np.uint8)
        Image.frombytes(mode, (size[1], size[0]), values.tobytes()).save(path)
        return path

    return write
