"""Names of found networks."""

from __future__ import annotations

from typing import Any

import pytest

from widthwise.runs.tags import tag


def config(model: str, dataset: str | None = "cifar10") -> dict[str, Any]:
    task = {"name": "denoising", "dataset": dataset}
    return {"model": {"name": model}, "method": {"name": "dhp"}, "task": task}


@pytest.mark.parametrize(
    ("model", "data", "fraction", "expected"),
    [
        ("widthwise/resnet20", "cifar10", 0.4999, "resnet20.dhp50_cifar10"),
        ("timm/mobilenetv3_large_100.ra_in1k", "timm/Food-101", 0.105, "food_101"),
        ("my.nets:TinyNet", "imagefolder", 0.2, "tinynet.dhp20_imagefolder"),
        ("runs/digits", "digits", 0.0001, "digits.dhp1_digits"),
        ("widthwise/resnet20", "torchvision/SVHN", 1.0, "resnet20.dhp100_svhn"),
        ("widthwise/dncnn", None, 0.5, "dncnn.dhp50_denoising"),
    ],
)
def test_tags(model: str, data: str | None, fraction: float, expected: str) -> None:
    """Architecture, method, rounded percentage of the MACs and data (the task without any); one dot, no slash."""
    name = tag(config(model, data), macs_fraction=fraction)
    assert name.endswith(expected)
    assert name.count(".") == 1
    assert all(character.isalnum() or character in "._" for character in name)
