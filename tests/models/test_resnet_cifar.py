"""The CIFAR ResNets we ship are the published ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import widthwise as ww
from widthwise.models import ResNetCifar, resolve
from widthwise.models.resnet_cifar import BasicBlock

PUBLISHED = json.loads((Path(__file__).parent.parent / "golden" / "complexity.json").read_text())
DEPTHS = ("resnet20", "resnet56")


@pytest.mark.parametrize("name", DEPTHS)
def test_macs_and_parameters_are_the_published_ones(name: str) -> None:
    """MACs, in units of 100, and parameters, in units of 10, equal the golden file's."""
    golden = PUBLISHED["cifar10_3x32x32"][name]
    graph = ww.trace(resolve(f"widthwise/{name}").build(), torch.zeros(1, 3, 32, 32))
    assert round(graph.macs() / 1e6, 4) == golden["macs_m"]
    assert round(graph.params() / 1e3, 2) == golden["params_k"]


@pytest.mark.parametrize("name", DEPTHS)
def test_macs_agree_with_an_independent_counter(name: str) -> None:
    """The graph counts half the FLOPs that PyTorch's own counter sees in a forward pass."""
    model = resolve(f"widthwise/{name}").build().eval()
    images = torch.zeros(1, 3, 32, 32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(images)
    assert ww.trace(model, images).macs() * 2 == counter.get_total_flops()


def test_shortcuts_are_convolutions_only_where_the_shape_changes() -> None:
    """The first blocks of the second and third stage have a 1x1 convolution, no other block has."""
    model = ResNetCifar(depth=32)
    found = [name for name, module in model.named_modules() if name.endswith("shortcut.0")]
    assert found == ["layer2.0.shortcut.0", "layer3.0.shortcut.0"]


@pytest.mark.parametrize("depth", [2, 21, 51])
def test_impossible_depths_are_refused(depth: int) -> None:
    """A depth that is not 6n + 2 is an error that lists depths that are."""
    with pytest.raises(ValueError, match=r"6n \+ 2 .* got"):
        ResNetCifar(depth=depth)


def test_width_mult_scales_every_stage() -> None:
    """Half the width has half the channels in every stage."""
    model = ResNetCifar(depth=8, width_mult=0.5, in_channels=1, num_classes=7)
    assert [model.layer1[0].conv1.out_channels, model.fc.in_features] == [8, 32]
    assert model(torch.zeros(2, 1, 8, 8)).shape == (2, 7)


def test_a_width_mult_that_leaves_nothing_is_refused() -> None:
    """Less than one channel is an error."""
    with pytest.raises(ValueError, match="leaves no channel"):
        ResNetCifar(width_mult=0.01)


def test_a_block_that_only_changes_its_channels_has_a_convolution_in_its_shortcut() -> None:
    """Without a stride, a change of channels alone needs one."""
    block = BasicBlock(4, 8)
    assert isinstance(block.shortcut, nn.Sequential)
    assert block(torch.zeros(1, 4, 5, 5)).shape == (1, 8, 5, 5)
