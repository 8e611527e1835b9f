"""The images that a verb works on, on the command line."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.data.samples import Samples
    from widthwise.models import ModelSpec


def add_data_arguments(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """Add the folder of images, how many to use, and how they are scaled.

    Args:
        parser: Changed in place.
        required: Whether there must be a folder.
    """
    parser.add_argument(
        "--data",
        metavar="FOLDER",
        type=Path,
        required=required,
        help="images like those of training, at any depth, or CIFAR-10; a folder per class gives "
        "labels as well",
    )
    parser.add_argument(
        "--images", metavar="N", type=int, default=1536, help="how many to use (default: 1536)"
    )
    parser.add_argument(
        "--mean",
        metavar="R,G,B",
        type=_numbers,
        help="of values from 0 to 1 (default: CIFAR-10's own for CIFAR-10, else what the network "
        "was published with, or else ImageNet's)",
    )
    parser.add_argument("--std", metavar="R,G,B", type=_numbers, help="their deviations")


def input_of(given: argparse.Namespace, spec: ModelSpec) -> tuple[int, ...] | None:
    """Return the shape of an input: as given, or as large as the images where nobody knows.

    Args:
        given: With what `add_data_arguments` and `add_model_arguments` have added.
        spec: Of the network.

    Returns:
        The shape; None for the network's own.

    Raises:
        ConfigError: If neither the network nor the images tell.
        DataError: If there are no images, or one cannot be read.
    """
    if given.input is not None or spec.shape_known or given.data is None:
        shape: tuple[int, ...] | None = given.input
        return shape
    from widthwise.data.samples import size_in

    size = size_in(given.data)
    if size is None:
        raise ConfigError(
            f"How large the images of `{spec.name}` are is not known, and those in "
            f"`{given.data}` are not all squares of one size.\n"
            "Hint: say what the network was trained on, such as --input 1,3,224,224."
        )
    return 1, 3, size, size


def read_samples(
    given: argparse.Namespace, spec: ModelSpec, example: Any, judged: int = 0
) -> Samples:
    """Read the images.

    Args:
        given: With what `add_data_arguments` has added.
        spec: Of the network, which may say how images are scaled.
        example: What the network is called with.
        judged: How many of them, the last, are to judge by.

    Returns:
        The images.

    Raises:
        DataError: If there are none, or one cannot be read.
        ConfigError: If the network takes more than images.
    """
    if isinstance(example, tuple):
        raise ConfigError(
            f"`{spec.name}` takes {len(example)} inputs, and --data has images for one.\n"
            "Hint: `ww.compress` and the scores in Python take batches of any inputs; a recipe "
            "with `arms: [compress]` takes those of its task."
        )
    from widthwise.data.samples import samples_in

    return samples_in(
        given.data,
        shape=example.shape,
        count=given.images,
        judged=judged,
        mean=given.mean,
        std=given.std,
        published=None if spec.mean is None or spec.std is None else (spec.mean, spec.std),
    )


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"expected numbers such as 0.5,0.5,0.5: {text!r}"
        ) from error
