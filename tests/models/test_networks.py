"""What is particular to single networks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from widthwise.models import resolve
from widthwise.models.adapting import adapt
from widthwise.models.densenet_cifar import DenseNetCifar
from widthwise.models.mobilenet_v2 import InvertedResidual
from widthwise.models.resnext_cifar import GroupedBlock, ResNextCifar
from widthwise.models.vgg_cifar import Head, Vgg16Bn
from widthwise.models.wide_resnet import PreActivationBlock, WideResNet
from widthwise.network.initialisation import draw_fresh


def last_map(model: nn.Module, side: int) -> int:
    """Side of the map that the last convolution over space writes."""
    sides: list[int] = []

    def record(_: nn.Module, __: object, output: Tensor) -> None:
        # The convolutions of a squeeze-and-excitation see a single pixel.
        if output.shape[-1] > 1:
            sides.append(output.shape[-1])

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(record)
    model.to("meta").eval()(torch.zeros(1, 3, side, side, device="meta"))
    return sides[-1]


@pytest.mark.parametrize(
    ("name", "maps"),
    [
        ("mobilenet_v1", {32: 2, 64: 2, 224: 7}),
        ("mobilenet_v2", {32: 4, 64: 4, 224: 7}),
        ("mobilenet_v3_small", {32: 4, 64: 4, 224: 7}),
        ("mobilenet_v3_large", {32: 4, 64: 4, 224: 7}),
        ("mnasnet", {32: 4, 64: 2, 224: 7}),
        ("shufflenet_v2", {32: 4, 64: 4, 224: 7}),
        ("efficientnet_b0", {32: 8, 64: 4, 224: 7}),
        ("regnet_x_400mf", {32: 8, 64: 4, 224: 7}),
        ("regnet_y_400mf", {32: 8, 64: 4, 224: 7}),
        ("resnet20", {32: 8, 64: 8}),
    ],
)
def test_the_last_map_is_as_large_as_said(name: str, maps: dict[int, int]) -> None:
    """Strides follow `image_size`, so that the classifier sees a map of a few pixels."""
    factory = resolve(f"widthwise/{name}").factory
    found = {side: last_map(factory(image_size=side, width_mult=0.25), side) for side in maps}
    assert found == maps


def test_densenet_is_drawn_as_in_the_paper() -> None:
    """Convolutions are normal with variance 2 / (9 x 12), also when drawn anew."""
    torch.manual_seed(0)
    network = DenseNetCifar()
    for anew in (False, True):
        if anew:
            draw_fresh(network, None)
        weights = torch.cat([layer.conv.weight.flatten() for layer in network.block3])
        assert weights.std().item() == pytest.approx((2 / (9 * 12)) ** 0.5, rel=0.02)
        assert network.fc.weight.std().item() == pytest.approx((1 / 456) ** 0.5, rel=0.05)
        assert not network.fc.bias.any()


@pytest.mark.parametrize("name", ["resnet20", "mobilenet_v3_small", "shufflenet_v2", "mnasnet"])
def test_networks_drawn_anew_start_like_new_ones(name: str) -> None:
    """A network built after a seed equals one whose layers were all drawn after that seed."""
    factory = resolve(f"widthwise/{name}").factory
    model = factory(width_mult=0.25)
    before = {key: value.std().item() for key, value in model.named_parameters()}
    draw_fresh(model, None)
    after = {key: value.std().item() for key, value in model.named_parameters()}
    # Small vectors vary from draw to draw; large tensors tell one distribution from another.
    large = [key for key, value in model.named_parameters() if value.numel() >= 1000]
    assert large
    assert {k: after[k] for k in large} == pytest.approx({k: before[k] for k in large}, rel=0.15)


def test_adapting_changes_strides_and_image_channels_only() -> None:
    """The named layers get their strides, the stem its channels; kernels and paddings stay."""
    net = nn.Sequential(
        nn.Conv2d(3, 8, 5, stride=2, padding=2, bias=False),
        nn.MaxPool2d(3, 2, 1),
        nn.Conv2d(8, 8, 1),
    )
    adapt(net, stem="0", in_channels=1, strides={"0": 1, "1": 1})
    assert net(torch.zeros(1, 1, 16, 16)).shape == (1, 8, 16, 16)
    assert [tuple(value.shape) for value in net.parameters()] == [(8, 1, 5, 5), (8, 8, 1, 1), (8,)]


def test_width_mult_of_a_resnext_changes_the_number_of_groups() -> None:
    """Half the width is 16 groups; the channels of a group stay."""
    model = ResNextCifar(width_mult=0.5)
    convolutions = [stage[0].conv2 for stage in (model.layer1, model.layer2, model.layer3)]
    assert [(c.groups, c.out_channels) for c in convolutions] == [(16, 16), (16, 32), (16, 64)]


def test_width_mult_of_a_regnet_keeps_whole_groups() -> None:
    """At three quarters of the width, stages have as many groups of 16 channels as fit in."""
    model = resolve("widthwise/regnet_x_400mf").build(width_mult=0.75)
    groups = {
        layer.out_channels: layer.groups
        for layer in model.modules()
        if isinstance(layer, nn.Conv2d) and layer.in_channels == layer.groups * 16
    }
    assert groups == {16: 1, 48: 3, 112: 7, 288: 18}


def test_the_second_convolution_of_a_wide_resnet_strides() -> None:
    """The published network halves the map late in a block, and its shortcut has no norm."""
    block = PreActivationBlock(4, 8, stride=2)
    assert (block.conv1.stride, block.conv2.stride) == ((1, 1), (2, 2))
    assert isinstance(block.shortcut, nn.Conv2d)
    assert isinstance(WideResNet(depth=16, widen=1).layer1[1].shortcut, nn.Identity)


def test_the_head_of_a_vgg_is_a_choice() -> None:
    """Three linear layers, or one."""
    sizes = {head: len(Vgg16Bn(width_mult=0.1, head=head).classifier) for head in Head}
    assert sizes == {Head.linear: 1, Head.linear3: 3}


def test_inverted_residuals_add_only_where_the_shape_stays() -> None:
    """A stride or a change of channels leaves the shortcut out."""
    images = torch.randn(1, 4, 6, 6)
    stays = InvertedResidual(4, 4, expansion=2, stride=1).eval()
    nn.init.zeros_(stays.project[1].weight)
    torch.testing.assert_close(stays(images), images)
    for changed in (
        InvertedResidual(4, 6, expansion=2, stride=1),
        InvertedResidual(4, 4, expansion=2, stride=2),
    ):
        nn.init.zeros_(changed.eval().project[1].weight)
        assert not changed(images).any()


def test_grouped_blocks_have_a_convolution_in_the_shortcut_where_the_shape_changes() -> None:
    """Twice the channels of the grouped convolution leave the block."""
    assert isinstance(GroupedBlock(8, 4, groups=4).shortcut, nn.Identity)
    assert isinstance(GroupedBlock(8, 4, groups=4, stride=2).shortcut, nn.Sequential)
    assert isinstance(GroupedBlock(6, 4, groups=4).shortcut, nn.Sequential)
