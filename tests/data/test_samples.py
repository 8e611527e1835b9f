"""Images of a folder as inputs: which, in what order, scaled how, and what they show."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from widthwise.data.samples import samples_in, size_in
from widthwise.errors import ConfigError, DataError


def draw(path: Path, value: int, size: int = 40) -> None:
    """Write an image of one colour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size, 3), value, np.uint8)).save(path)


def test_class_folders_are_labels(tmp_path: Path) -> None:
    """Classes are numbered by their names, and those of one are not in a row."""
    for number, name in enumerate(("ant", "bee", "cat")):
        for image in range(4):
            draw(tmp_path / name / f"{image}.png", 80 * number)
    found = samples_in(tmp_path, shape=(1, 3, 32, 32), count=100)
    assert found.classes == ("ant", "bee", "cat")
    assert found.labels is not None and len(found) == 12
    assert found.images.shape == (12, 3, 32, 32) and found.images.dtype == torch.uint8
    assert torch.equal(found.images[:, 0, 0, 0].long(), 80 * found.labels)
    assert found.labels.tolist() != sorted(found.labels.tolist())
    fewer = samples_in(tmp_path, shape=(1, 3, 32, 32), count=3)
    assert fewer.labels is not None and sorted(fewer.labels.tolist()) == [0, 1, 2]


def test_values_are_scaled_as_in_training(tmp_path: Path) -> None:
    """By the means of ImageNet, by one's own, as published, and about the middle for grey."""
    draw(tmp_path / "a.png", 255)
    draw(tmp_path / "b.png", 255)
    found = samples_in(tmp_path, shape=(1, 3, 32, 32), count=2)
    assert found.labels is None and found.classes == ()
    red = found.inputs(slice(None))[0, :, 0, 0]
    expected = (torch.ones(3) - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
        [0.229, 0.224, 0.225]
    )
    assert torch.allclose(red, expected, atol=1e-5)
    own = samples_in(tmp_path, shape=(1, 3, 32, 32), count=2, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert torch.allclose(own.inputs(slice(0, 1)), torch.ones(1, 3, 32, 32))
    published = ((0.0,) * 3, (1.0,) * 3)
    plain = samples_in(tmp_path, shape=(1, 3, 32, 32), count=2, published=published)
    assert torch.equal(plain.inputs(slice(0, 1)), torch.ones(1, 3, 32, 32))
    asked = samples_in(
        tmp_path, shape=(1, 3, 32, 32), count=2, mean=(0.25,) * 3, published=published
    )
    assert torch.allclose(asked.inputs(slice(0, 1)), torch.full((1, 3, 32, 32), 0.75))
    grey = samples_in(tmp_path, shape=(1, 1, 32, 32), count=2)
    assert torch.allclose(grey.inputs(slice(0, 1)), torch.full((1, 1, 32, 32), 2.0))


def test_images_at_several_depths_have_no_labels(tmp_path: Path) -> None:
    """A folder beside images is no class."""
    draw(tmp_path / "a.png", 1)
    draw(tmp_path / "more" / "b.png", 2)
    assert samples_in(tmp_path, shape=(1, 3, 32, 32), count=9).labels is None


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    """No images, no folder, another kind of input, too few means, a damaged file."""
    with pytest.raises(DataError, match="has no images"):
        samples_in(tmp_path, shape=(1, 3, 32, 32), count=9)
    with pytest.raises(DataError, match="is not a folder"):
        samples_in(tmp_path / "none", shape=(1, 3, 32, 32), count=9)
    draw(tmp_path / "a.png", 1)
    with pytest.raises(ConfigError, match="not made of images"):
        samples_in(tmp_path, shape=(1, 16000), count=9)
    with pytest.raises(ConfigError, match="--mean"):
        samples_in(tmp_path, shape=(1, 3, 32, 32), count=9, mean=(0.5,))
    (tmp_path / "b.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"b\.png` cannot be read"):
        samples_in(tmp_path, shape=(1, 3, 32, 32), count=9)


def test_the_size_of_images_is_told_where_all_have_one(tmp_path: Path) -> None:
    """Of squares of one size; of others nobody knows what a network was trained on."""
    for number in range(3):
        draw(tmp_path / f"{number}.png", 10, size=24)
    assert size_in(tmp_path) == 24
    draw(tmp_path / "4.png", 10, size=25)
    assert size_in(tmp_path) is None
    (tmp_path / "cifar-10-batches-bin").mkdir()
    assert size_in(tmp_path) == 32
