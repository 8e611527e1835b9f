"""What the verbs that take a MODEL have in common."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from widthwise.models import ModelSpec


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add MODEL, --input and --weights.

    Args:
        parser: Changed in place.
    """
    parser.add_argument(
        "model",
        metavar="MODEL",
        help="widthwise/NAME, torchvision/NAME, timm/NAME, package.module:factory, a run folder "
        "or a checkpoint that spandrel knows; a pattern such as 'timm/resnet*' lists names",
    )
    parser.add_argument(
        "--input",
        metavar="N,C,H,W",
        type=input_shape,
        help="shape of the example input (default: the one the network was published for; of a "
        "network of your own, the size of the images in --data, if they all have one)",
    )
    parser.add_argument(
        "--weights",
        metavar="FILE",
        type=Path,
        help="weights to load: .safetensors, or a state dict or checkpoint of torch.save "
        "(default: fresh weights)",
    )


def is_pattern(model: str) -> bool:
    """Say whether MODEL is a glob to list names by."""
    return any(character in model for character in "*?[")


def build_model(
    spec: ModelSpec, *, shape: Sequence[int] | None, weights: Path | None
) -> tuple[nn.Module, Any]:
    """Build the network of a command line.

    Args:
        spec: What MODEL names.
        shape: Shape of the example input, or None for the model's own.
        weights: State dict to load, or None.

    Returns:
        The network in evaluation mode and example inputs of zeros.

    Raises:
        ConfigError: If the weights do not fit the network.
    """
    import torch

    from widthwise.models.weights import load_weights

    # Every `widthwise plan` of one model gives one plan, whatever the weights are drawn from.
    torch.manual_seed(0)
    model = spec.build().eval()
    if weights is not None:
        load_weights(model, weights, name=spec.name)
    return model, spec.example(shape)


def input_shape(text: str) -> tuple[int, ...]:
    """Read the sizes of an input, such as ``1,3,224,224`` or ``1x3x224x224``."""
    try:
        shape = tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"expected sizes such as 1,3,224,224, got {text!r}")
    return shape
