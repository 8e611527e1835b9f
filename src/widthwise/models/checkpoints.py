"""Networks for photographs from their checkpoint alone, as the ``spandrel`` package reads them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from spandrel import ModelDescriptor

SUFFIXES = frozenset({".pth", ".pt", ".ckpt", ".safetensors"})
"""Names of files that are looked into."""
_SIDE = 64
"""Of the example image, if the network takes any."""


def read_checkpoint(path: Path) -> ModelDescriptor:
    """Build the network that a checkpoint belongs to, with its weights.

    Args:
        path: A file of weights.

    Returns:
        The network as ``model``, with what `spandrel` knows of it.

    Raises:
        ConfigError: If `spandrel` is not installed, or knows no network with such weights, or the
            file cannot be read.
    """
    try:
        from spandrel import ModelLoader, UnsupportedModelError
    except ImportError as error:
        raise ConfigError(
            f"`{path}` is a file, and which network it belongs to is known by `spandrel` alone.\n"
            "Hint: `pip install 'widthwise[restoration]'`, or name the network as MODEL and give "
            "the file with --weights."
        ) from error
    try:
        return ModelLoader().load_from_file(path)
    except UnsupportedModelError as error:
        raise ConfigError(
            f"`{path}` holds weights of no network that `spandrel` knows.\n"
            "Hint: name the network as MODEL, and give the file with --weights."
        ) from error
    # What a damaged file makes it raise is anything: errors of zip, pickle, JSON and torch.
    except Exception as error:
        raise ConfigError(f"Cannot read `{path}`: {type(error).__name__}: {error}") from error


def example_shape(found: ModelDescriptor) -> tuple[int, int, int, int]:
    """Return the shape of an image that a network takes, with a batch of one in front."""
    needs = found.size_requirements
    side = max(_SIDE, needs.minimum)
    side += -side % needs.multiple_of
    return (1, found.input_channels, side, side)
