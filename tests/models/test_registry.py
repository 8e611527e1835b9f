"""Networks are found by name, and wrong names say what to do."""

from __future__ import annotations

import pytest
from torch import nn

from widthwise.errors import ConfigError
from widthwise.models import list_models, resolve


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("widthwise/resnet20", (1, 3, 32, 32)),
        ("torchvision/resnet18", (1, 3, 224, 224)),
        ("torchvision/inception_v3", (1, 3, 299, 299)),
        ("timm/inception_v3", (1, 3, 299, 299)),
        ("torch.nn:Identity", (1, 3, 224, 224)),
    ],
)
def test_every_form_of_name_is_found_with_its_input(name: str, shape: tuple[int, ...]) -> None:
    """The example input is the one the network was published for."""
    assert resolve(name).input_shape == shape


def test_timm_says_how_images_are_scaled() -> None:
    """As each network was published, which is not always as ImageNet is."""
    assert resolve("timm/vit_tiny_patch16_224").mean == (0.5, 0.5, 0.5)
    assert resolve("timm/resnet18").std == (0.229, 0.224, 0.225)
    assert resolve("widthwise/resnet20").mean is None


def test_options_reach_the_constructor() -> None:
    """Keyword options are those of the network."""
    assert resolve("widthwise/resnet14").build(num_classes=3).fc.out_features == 3
    assert resolve("torchvision/squeezenet1_1").build(num_classes=3).num_classes == 3


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("widthwise/resnet21", "nearest names are .*`widthwise/resnet20`"),
        ("torchvision/rsenet50", r"`torchvision/resnet50`.*widthwise trace 'torchvision/\*'"),
        ("timm/resnet50dd", "`timm/resnet50d`"),
        ("resnet50", "nearest names are `torchvision/resnet50`, `timm/resnet50`"),
        ("nowhere.to.be:found", "Cannot import `nowhere.to.be`"),
        ("torch.nn:Linaer", "found nothing"),
        ("torch:nn", "found a `module`"),
    ],
)
def test_a_wrong_name_says_what_is_there(name: str, says: str) -> None:
    """An unknown model is an error with the nearest names or the reason."""
    with pytest.raises(ConfigError, match=says):
        resolve(name)


def test_wrong_options_are_named() -> None:
    """An option the constructor does not know is an error that shows it."""
    with pytest.raises(ConfigError, match="Options given: depht=14"):
        resolve("widthwise/resnet20").build(depht=14)


def test_a_factory_must_build_a_module() -> None:
    """A factory that returns something else is an error that says what."""
    with pytest.raises(ConfigError, match="builds a `dict`"):
        resolve("builtins:dict").build()


def test_names_are_listed_by_pattern() -> None:
    """A glob lists the names of the sources it can match."""
    assert list_models("widthwise/resnet[25]*") == ["widthwise/resnet20", "widthwise/resnet56"]
    assert "torchvision/resnet50" in list_models("torchvision/*")
    assert list_models("nowhere/*") == []


def test_every_network_we_ship_builds() -> None:
    """Every listed name is found and builds a module."""
    for name in list_models("widthwise/*"):
        assert isinstance(resolve(name).build(), nn.Module)
