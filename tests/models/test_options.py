"""Options mean the same for all networks, and wrong values say what is known."""

from __future__ import annotations

import pytest
import torch

from widthwise.errors import ConfigError
from widthwise.models import resolve
from widthwise.models.options import Choice, for_image_size, scaled


class Colour(Choice):
    """A choice to test with."""

    red = "red"
    blue = "blue"


def test_a_choice_is_found_by_its_text() -> None:
    """Recipes write text; a member stands for itself."""
    assert Colour("red") is Colour.red
    assert Colour(Colour.blue) is Colour.blue


def test_an_unknown_choice_lists_what_is_known() -> None:
    """The error names the option, what it can be, and what was given."""
    with pytest.raises(ValueError, match="`colour` is one of 'red', 'blue': got 'green'"):
        Colour("green")


def test_fractions_of_a_channel_are_cut_off() -> None:
    """Widths are rounded down, not to the nearest."""
    assert scaled([32, 64, 1280], 0.3) == [9, 19, 384]


def test_a_width_without_channels_is_refused() -> None:
    """The error says which width is left without a channel."""
    with pytest.raises(ValueError, match="leaves no channel of 16"):
        scaled([32, 16], 0.05)


def test_an_image_size_without_strides_is_refused() -> None:
    """The error lists the sizes that have strides."""
    assert for_image_size(64, {32: "a", 64: "b"}) == "b"
    with pytest.raises(ValueError, match="one of 32, 64: got 48"):
        for_image_size(48, {32: "a", 64: "b"})


@pytest.mark.parametrize(
    ("name", "option", "says"),
    [
        ("resnet20", {"shortcut": "B"}, "`shortcut` is one of 'A', 'C'"),
        ("resnet20", {"block": "wide"}, "`block` is one of 'basic', 'bottleneck'"),
        ("resnet20", {"image_size": 224}, "`image_size` is one of 32, 64"),
        ("resnet20", {"depth": 110, "block": "bottleneck", "width_mult": 0.01}, "no channel"),
        ("vgg16_bn", {"head": "linear2"}, "`head` is one of 'linear', 'linear3'"),
        ("mobilenet_v3_small", {"image_size": 48}, "`image_size` is one of 32, 64, 224"),
        ("resnext20", {"depth": 21}, r"9n \+ 2 .* got 21"),
        ("densenet40", {"depth": 41}, r"3n \+ 4 .* got 41"),
        ("wrn16_10", {"depth": 18}, r"6n \+ 4 .* got 18"),
    ],
)
def test_networks_refuse_wrong_options(name: str, option: dict[str, object], says: str) -> None:
    """A wrong option in a recipe is an error that says what is known."""
    with pytest.raises(ConfigError, match=says):
        resolve(f"widthwise/{name}").build(**option)


NAMES = (
    "resnet20 resnext20 densenet40 vgg16_bn wrn16_10 mobilenet_v1 mobilenet_v2 mobilenet_v3_small "
    "mobilenet_v3_large mnasnet shufflenet_v2 efficientnet_b0 regnet_x_400mf regnet_y_400mf"
).split()


@pytest.mark.parametrize("name", NAMES)
def test_every_network_has_the_common_options(name: str) -> None:
    """Classes, image channels and width are options of all; half the width is a smaller network."""
    spec = resolve(f"widthwise/{name}")
    options = {"num_classes": 7, "in_channels": 1}
    with torch.device("meta"):
        whole = spec.build(**options)
        half = spec.build(**options, width_mult=0.5).eval()
    full_size, size = (sum(p.numel() for p in net.parameters()) for net in (whole, half))
    assert 0.15 < size / full_size < 0.65
    images = torch.zeros(1, 1, *spec.input_shape[2:], device="meta")
    assert half(images).shape == (1, 7)
