"""The networks we ship, by name. To add one: its own file, and a row here."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

CIFAR = (1, 3, 32, 32)
TINY_IMAGENET = (1, 3, 64, 64)
GREY = (1, 1, 128, 128)
COLOUR = (1, 3, 128, 128)
"""What published costs of denoisers and of super-resolution are counted on."""


@dataclass(frozen=True, kw_only=True)
class Shipped:
    """Where a network is, and what it is fed with."""

    factory: str
    """``module:name`` in this package: a class, or a function that builds the network."""
    input_shape: tuple[int, ...]
    """Shape of one example input, with a batch of one in front."""
    further_shapes: tuple[tuple[int, ...], ...] = ()
    """Shapes of the inputs after the first."""
    example: str | None = None
    """``module:name`` of a function from shapes to inputs; None if zeros will do."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Keyword arguments that make it the network of that name."""

    def load(self) -> Callable[..., nn.Module]:
        """Import the network's file.

        Returns:
            What builds the network.
        """
        return partial(_imported(self.factory), **self.options)

    def load_example(self) -> Callable[..., tuple[Tensor, ...]] | None:
        """Import what makes its inputs.

        Returns:
            It, or None if zeros will do.
        """
        return None if self.example is None else _imported(self.example)


def _imported(path: str) -> Callable[..., Any]:
    module, _, name = path.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(f"widthwise.models.{module}"), name)
    return found


def _cifar(factory: str, **options: object) -> Shipped:
    return Shipped(factory=factory, input_shape=CIFAR, options=options)


def _dimp(factory: str) -> Shipped:
    crops, boxes, judged = (1, 1, 3, 288, 288), (1, 1, 4), (1, 1, 1, 4)
    return Shipped(
        factory=factory,
        input_shape=crops,
        further_shapes=(boxes, crops, judged),
        example="dimp.network:inputs_like",
    )


def _tiny_imagenet(factory: str) -> Shipped:
    return Shipped(factory=factory, input_shape=TINY_IMAGENET)


SHIPPED: dict[str, Shipped] = {
    "resnet14": _cifar("resnet_cifar:ResNetCifar", depth=14),
    "resnet20": _cifar("resnet_cifar:ResNetCifar", depth=20),
    "resnet32": _cifar("resnet_cifar:ResNetCifar", depth=32),
    "resnet44": _cifar("resnet_cifar:ResNetCifar", depth=44),
    "resnet56": _cifar("resnet_cifar:ResNetCifar", depth=56),
    "resnet110": _cifar("resnet_cifar:ResNetCifar", depth=110),
    "resnet164": _cifar("resnet_cifar:ResNetCifar", depth=164),
    "resnext20": _cifar("resnext_cifar:ResNextCifar", depth=20),
    "resnext164": _cifar("resnext_cifar:ResNextCifar", depth=164),
    "densenet40": _cifar("densenet_cifar:DenseNetCifar", depth=40),
    "vgg16_bn": _cifar("vgg_cifar:Vgg16Bn"),
    "wrn16_10": _cifar("wide_resnet:WideResNet", depth=16, widen=10),
    "mobilenet_v1": _tiny_imagenet("mobilenet_v1:MobileNetV1"),
    "mobilenet_v2": _tiny_imagenet("mobilenet_v2:MobileNetV2"),
    "mobilenet_v3_small": _tiny_imagenet("mobilenet_v3:mobilenet_v3_small"),
    "mobilenet_v3_large": _tiny_imagenet("mobilenet_v3:mobilenet_v3_large"),
    "mnasnet": _tiny_imagenet("mnasnet:mnasnet"),
    "shufflenet_v2": _cifar("shufflenet_v2:shufflenet_v2"),
    "efficientnet_b0": _cifar("efficientnet:efficientnet_b0"),
    "regnet_x_400mf": _cifar("regnet:regnet_x_400mf"),
    "regnet_y_400mf": _cifar("regnet:regnet_y_400mf"),
    "dncnn": Shipped(factory="dncnn:DnCNN", input_shape=GREY),
    "unet": Shipped(factory="unet:UNet", input_shape=GREY),
    "srresnet": Shipped(factory="srresnet:SRResNet", input_shape=COLOUR),
    "edsr": Shipped(factory="edsr:EDSR", input_shape=COLOUR),
    "siamese": Shipped(
        factory="siamese:SiameseTracker",
        input_shape=(1, 3, 64, 64),
        further_shapes=((1, 3, 128, 128),),
    ),
    "dimp18": _dimp("dimp.network:dimp18"),
    "dimp50": _dimp("dimp.network:dimp50"),
    "edsr_32x256": Shipped(
        factory="edsr:EDSR",
        input_shape=COLOUR,
        options={"features": 256, "blocks": 32, "res_scale": 0.1},
    ),
    "edsr_16x64": Shipped(
        factory="edsr:EDSR", input_shape=COLOUR, options={"features": 64, "blocks": 16}
    ),
}
