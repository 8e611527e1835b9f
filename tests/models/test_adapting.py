"""A library that renames its layers is noticed."""

from __future__ import annotations

import pytest
from torch import nn

from widthwise.errors import ConfigError
from widthwise.models.adapting import adapt


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())


@pytest.mark.parametrize(
    ("stem", "strides", "problem"),
    [
        ("0", {"1": 1}, "expected a convolution or pooling layer at `1`, got `ReLU`"),
        ("0", {"conv1": 1}, "expected a convolution or pooling layer at `conv1`, got nothing"),
        ("1", {"0": 1}, "expected a convolution at `1`, got `ReLU`"),
        ("stem", {}, "expected a convolution at `stem`, got nothing"),
    ],
)
def test_a_layer_of_another_kind_is_refused(
    stem: str, strides: dict[str, int], problem: str
) -> None:
    """The error says which layer was expected where, and what is there."""
    with pytest.raises(ConfigError, match=problem):
        adapt(network(), stem=stem, strides=strides)


def test_strides_and_image_channels_change() -> None:
    """The named layers stride as told and the stem takes the new channels."""
    adapted = adapt(network(), stem="0", in_channels=1, strides={"0": 2})
    assert adapted[0].stride == (2, 2)
    assert adapted[0].in_channels == 1
