"""The CIFAR ResNets we ship are the published ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import widthwise as ww
from widthwise.models import ResNetCifar
from widthwise.models.resnet_cifar import (
    BasicBlock,
    Block,
    BottleneckBlock,
    Shortcut,
    ZeroPaddedShortcut,
)


def test_shortcuts_are_convolutions_only_where_the_shape_changes() -> None:
    """The first blocks of the second and third stage have a 1x1 convolution, no other block has."""
    model = ResNetCifar(depth=32)
    found = [name for name, module in model.named_modules() if name.endswith("shortcut.0")]
    assert found == ["layer2.0.shortcut.0", "layer3.0.shortcut.0"]


@pytest.mark.parametrize("depth", [2, 21, 51])
def test_impossible_depths_are_refused(depth: int) -> None:
    """A depth that is neither 6n + 2 nor 9n + 2 is an error that lists depths that are."""
    with pytest.raises(ValueError, match=r"6n \+ 2 .* 9n \+ 2 .* got"):
        ResNetCifar(depth=depth)


@pytest.mark.parametrize(
    ("depth", "block", "kind", "blocks"),
    [
        (20, None, BasicBlock, 3),
        (56, None, BasicBlock, 9),
        (29, None, BottleneckBlock, 3),
        (110, None, BottleneckBlock, 12),
        (164, None, BottleneckBlock, 18),
        (20, "bottleneck", BottleneckBlock, 2),
        (110, Block.basic, BasicBlock, 18),
    ],
)
def test_deep_networks_have_bottlenecks(
    depth: int, block: Block | str | None, kind: type[nn.Module], blocks: int
) -> None:
    """Up to 56 layers blocks are basic where the depth allows it; the option overrides."""
    layer = ResNetCifar(depth=depth, block=block, width_mult=0.25).layer2
    assert {type(member) for member in layer} == {kind}
    assert len(layer) == blocks


def test_the_depth_must_fit_the_block_asked_for() -> None:
    """A depth of one block with the other is an error that names the block."""
    with pytest.raises(ValueError, match="got 29 with basic blocks"):
        ResNetCifar(depth=29, block="basic")


def test_shortcuts_of_type_a_average_and_pad_with_zeros() -> None:
    """The map is halved by averaging; half of the new channels stand in front, half behind."""
    images = torch.arange(32.0).reshape(1, 2, 4, 4)
    out = ZeroPaddedShortcut(2, 4, stride=2)(images)
    assert out.shape == (1, 4, 2, 2)
    assert not out[:, [0, 3]].any()
    torch.testing.assert_close(out[0, 1], torch.tensor([[2.5, 4.5], [10.5, 12.5]]))


def test_shortcuts_of_type_a_round_odd_maps_up() -> None:
    """A map of 7 becomes one of 4, as in a convolution of stride 2."""
    block = BasicBlock(4, 8, stride=2, shortcut=Shortcut.A)
    assert block(torch.zeros(1, 4, 7, 7)).shape == (1, 8, 4, 4)


def test_shortcuts_of_type_a_add_nothing_to_the_weights() -> None:
    """Their zeros are no part of the state dict."""
    names = ResNetCifar(shortcut="A").state_dict()
    assert names
    assert not [name for name in names if "shortcut" in name]


def test_the_zeros_of_type_a_can_be_cut() -> None:
    """Channels that a shortcut fills with zeros are axes of their own, as free as the others."""
    graph = ww.trace(ResNetCifar(depth=8, shortcut="A").eval(), torch.zeros(1, 3, 32, 32))
    assert graph.axes["layer2.0.conv2[0:8]"].frozen is None
    assert graph.axes["layer2.0.conv2[24:32]"].frozen is None


def test_the_stem_halves_large_images() -> None:
    """At 64 pixels the stem has stride 2."""
    assert ResNetCifar(depth=8, image_size=64).conv1.stride == (2, 2)
    assert ResNetCifar(depth=8).conv1.stride == (1, 1)


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
