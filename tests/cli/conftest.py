"""What the tests of verbs that look at data share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from widthwise.models import resolve


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Weights of a small network, and a folder of images in ten classes."""
    folder = tmp_path_factory.mktemp("material")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(resolve("widthwise/resnet14").build().state_dict(), folder / "weights.pt")
    generator = np.random.default_rng(0)
    for number in range(10):
        place = folder / "images" / f"kind{number}"
        place.mkdir(parents=True)
        for image in range(3):
            values = generator.integers(0, 255, (32, 32, 3), np.uint8)
            Image.fromarray(values).save(place / f"{image}.png")
    return folder / "weights.pt", folder / "images"
