"""Read the weights of a network from a file, as people keep them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError

_INSIDE = ("state_dict", "model_state_dict", "model")
"""Keys under which trainers keep the weights in a checkpoint that has more in it."""
_WRAPPERS = ("module.", "_orig_mod.")
"""What wrappers for many GPUs and for compiling put before every name."""
_SHOWN = 8
"""Lines of a long message."""


def load_weights(network: nn.Module, path: Path, *, name: str) -> None:
    """Load a file of weights into a network.

    Args:
        network: Changed in place.
        path: A ``.safetensors`` file, or what `torch.save` wrote: a state dict, or a checkpoint
            that has one under ``state_dict`` or ``model``. Names may begin with what wrappers
            put before them (``module.``).
        name: What to call the network in an error.

    Raises:
        ConfigError: If the file cannot be read or does not fit the network.
    """
    try:
        network.load_state_dict(_bare(_read(path)))
    except (OSError, ValueError, RuntimeError, KeyError, pickle.UnpicklingError) as error:
        lines = str(error).splitlines()
        shown = lines[:_SHOWN] + (["..."] if len(lines) > _SHOWN else [])
        raise ConfigError(
            f"Cannot load `{path}` into `{name}`:\n    " + "\n    ".join(shown)
        ) from (error)


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix == ".safetensors":
        # Imported here: `widthwise trace` needs no file of weights.
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise ValueError(str(error)) from error
    found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, Mapping):
        raise ValueError(f"It holds a {type(found).__name__}, expected a state dict.")
    return found


def _bare(found: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the weights of a checkpoint, by the names that the network has for them."""
    for key in _INSIDE:
        if isinstance(found.get(key), Mapping):
            found = found[key]
            break
    for wrapper in _WRAPPERS:
        if found and all(name.startswith(wrapper) for name in found):
            found = {name.removeprefix(wrapper): tensor for name, tensor in found.items()}
    return dict(found)
