"""The networks we ship are the published ones: their MACs and parameters are the printed digits."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import widthwise as ww
from widthwise.models import resolve

PUBLISHED = json.loads((Path(__file__).parent.parent / "golden" / "complexity.json").read_text())
BASELINES = PUBLISHED["baselines_with_norms_and_activations"]

# Name in the golden file -> MODEL and options, where the name does not say it.
BY_NAME: dict[str, tuple[str, dict[str, Any]]] = {
    "resnet110_bottleneck": ("widthwise/resnet110", {}),
    "resnet164_bottleneck": ("widthwise/resnet164", {}),
    "resnet20_type_a": ("widthwise/resnet20", {"shortcut": "A"}),
    "resnet56_type_a": ("widthwise/resnet56", {"shortcut": "A"}),
    "densenet40_k12": ("widthwise/densenet40", {}),
    "resnext20_32x1": ("widthwise/resnext20", {}),
    "resnext164_32x1": ("widthwise/resnext164", {}),
    "vgg16_bn_linear3": ("widthwise/vgg16_bn", {"head": "linear3"}),
}
CLASSES = {"cifar10": 10, "cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000}
MAC_DIGITS = {"cifar10": 4, "cifar100": 4, "tiny_imagenet": 3, "imagenet": 1}
SECTIONS = ("cifar10_3x32x32", "cifar100_3x32x32", "tiny_imagenet_3x64x64", "imagenet_3x224x224")
DEEP = {"resnet164_bottleneck", "resnext164_32x1", "resnet50", "resnet101"}
ENTRIES = [
    pytest.param(section, name, marks=pytest.mark.slow if name in DEEP else ())
    for section in SECTIONS
    for name in PUBLISHED[section]
    if name != "resnet50_w2"  # of the wide networks a search starts from, which are not shipped
]


@cache
def build(section: str, name: str) -> tuple[nn.Module, Tensor]:
    """A network of the golden file and an image for it, both without data."""
    data, _, shape = section.rpartition("_")
    network, options = BY_NAME.get(name, (f"widthwise/{name}", {}))
    if data == "imagenet" and name.startswith("resnet"):
        network = f"torchvision/{name}"
    if "_w" in name:
        plain, _, width = name.rpartition("_w")
        network, options = f"widthwise/{plain}", {"width_mult": float(width)}
    with torch.device("meta"):
        model = resolve(network).build(num_classes=CLASSES[data], **options)
    return model.eval(), torch.zeros(1, *map(int, shape.split("x")), device="meta")


@pytest.mark.parametrize(("section", "name"), ENTRIES)
def test_macs_and_parameters_are_the_published_ones(section: str, name: str) -> None:
    """MACs and parameters, rounded as the golden file's, equal them."""
    golden = PUBLISHED[section][name]
    model, image = build(section, name)
    graph = ww.trace(model, image)
    assert round(graph.macs() / 1e6, MAC_DIGITS[section.rpartition("_")[0]]) == golden["macs_m"]
    if "params_k" in golden:
        assert round(graph.params() / 1e3, 2) == golden["params_k"]
        assert graph.params() == sum(p.numel() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize(("section", "name"), ENTRIES)
def test_an_independent_counter_agrees(section: str, name: str) -> None:
    """PyTorch's own counter sees two FLOPs per published MAC in a forward pass."""
    model, image = build(section, name)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    macs = counter.get_total_flops() / 2
    digits = MAC_DIGITS[section.rpartition("_")[0]]
    assert round(macs / 1e6, digits) == PUBLISHED[section][name]["macs_m"]


@pytest.mark.parametrize(
    ("section", "name"),
    [(section, name) for section in BASELINES if section != "note" for name in BASELINES[section]],
)
def test_baselines_cost_what_was_printed(section: str, name: str) -> None:
    """Counted as that paper counts, with norms and activations, the network costs what it says.

    This holds the strides: those of small images are chosen so that the printed cost comes out.
    """
    data = section.rpartition("_")[0]
    sizes = {"tiny_imagenet": 64, "imagenet": 224}
    options = {"image_size": sizes[data]} if data in sizes else {}
    with torch.device("meta"):
        model = resolve(f"widthwise/{name}").build(num_classes=CLASSES[data], **options).eval()
    flops = _flops_with_norms_and_activations(model, int(section.rpartition("x")[2]))
    golden = BASELINES[section][name]
    assert round(flops / 1e9, 4) == golden["gflops"]
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 3) == golden["params_m"]


SMALL, LARGE = 128**2, 512**2
# What was counted besides: EDSR's mean colour is a 1x1 convolution there, before and after; UNet's
# transposed convolutions were counted as if every output came from four inputs (theirs have one),
# and its ReLUs, functions there, were not counted at all.
UP = 4 * 8**2 * 512 * 256 * 4
COUNTED_BESIDES = {
    "dncnn": (0, 0),
    "srresnet": (0, 0),
    "edsr": (9 * (SMALL + LARGE), 2 * (9 + 3)),
    "unet": (3 * UP - 3_997_696, 0),
}


@pytest.mark.parametrize(
    ("printed", "name"),
    [
        ("dncnn_17", "dncnn"),
        ("unet_5", "unet"),
        ("srresnet_x4", "srresnet"),
        ("edsr_8x128_x4", "edsr"),
    ],
)
def test_restoration_costs_what_was_printed(printed: str, name: str) -> None:
    """Networks have the printed GFLOPs, counted as above on 128x128 pixels, and parameters."""
    golden = PUBLISHED["restoration_128x128_input"][printed]
    spec = resolve(f"widthwise/{name}")
    with torch.device("meta"):
        model = spec.build().eval()
    flops, params = COUNTED_BESIDES[name]
    flops += _flops_with_norms_and_activations(model, 128, channels=spec.input_shape[1])
    params += sum(p.numel() for p in model.parameters())
    assert round(flops / 1e9, 4) == golden["gflops_published"]
    assert round(params / 1e6, 4) == golden["params_m"]


def _flops_with_norms_and_activations(model: nn.Module, side: int, channels: int = 3) -> float:
    others = 0

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        nonlocal others
        others += output.numel() * (2 if isinstance(module, nn.BatchNorm2d) else 1)

    counted = (nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.PReLU, nn.Hardswish, nn.Hardsigmoid)
    for module in model.modules():
        if isinstance(module, counted):
            module.register_forward_hook(count)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.zeros(1, channels, side, side, device="meta"))
    return counter.get_total_flops() / 2 + others
