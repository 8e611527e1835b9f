"""Read the weights of a network from a file, as people keep them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError

_LINES, _LENGTH = 8, 160
"""Of what PyTorch says, lines and characters in each: it names every tensor of a network."""


def load_weights(network: nn.Module, path: Path, *, name: str) -> None:
    """Load a file of weights into a network.

    Args:
        network: Changed in place.
        path: A ``.safetensors`` file, or what `torch.save` wrote: a state dict, or a checkpoint
            that has one inside. Names may begin with what wrappers put before all of them, such as
            ``module.`` or ``_orig_mod.``.
        name: What to call the network in an error.

    Raises:
        ConfigError: If the file cannot be read or does not fit the network.
    """
    found = _bare(_state(_read(path, name), path, name), set(network.state_dict()))
    try:
        network.load_state_dict(found)
    except RuntimeError as error:
        lines = [_shortened(line.strip()) for line in str(error).splitlines()[1:]]
        shown = lines[:_LINES] + (["..."] if len(lines) > _LINES else [])
        raise _refusal(
            path,
            name,
            "\n    ".join(shown),
            "is the network built as it was trained, with the same options?",
        ) from error


def _read(path: Path, name: str) -> Any:
    # Imported here: `widthwise trace` needs no file of weights.
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise _refusal(path, name, str(error)) from error
    except pickle.UnpicklingError as error:
        raise _refusal(
            path,
            name,
            "it is no file of `torch.save`, or holds more than tensors.",
            "save `model.state_dict()` rather than the model.",
        ) from error
    # Whatever a file that is something else makes of the reader.
    except (SafetensorError, RuntimeError, ValueError, KeyError, EOFError, AttributeError) as error:
        raise _refusal(path, name, "it is no file of weights, or a damaged one.") from error


def _state(content: Any, path: Path, name: str) -> dict[str, Tensor]:
    """Return the state dict of a file: all of it, or the one inside of a checkpoint."""
    if isinstance(content, Mapping):
        inside = [value for value in content.values() if _is_state(value)]
        # Of a student and a teacher, nobody knows which is meant.
        single = inside[0] if len(inside) == 1 else None
        for candidate in (content, content.get("state_dict"), content.get("model"), single):
            if candidate is not None and _is_state(candidate):
                return dict(candidate)
    raise _refusal(
        path,
        name,
        f"it holds a {type(content).__name__}, expected a state dict.",
        "save `model.state_dict()`, alone or in a checkpoint under `state_dict`.",
    )


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and bool(value)
        and all(isinstance(key, str) for key in value)
        and any(isinstance(item, Tensor) for item in value.values())
        and not any(isinstance(item, Mapping) for item in value.values())
    )


def _bare(found: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    """Remove from names what wrappers have put before all of them, until the network knows them."""
    while not names.intersection(found):
        # An average counts what it has averaged.
        own = {key: tensor for key, tensor in found.items() if key != "n_averaged"}
        first = {key.partition(".")[0] for key in own}
        if len(first) != 1 or not all("." in key for key in own):
            break
        found = {key.partition(".")[2]: tensor for key, tensor in own.items()}
    return found


def _refusal(path: Path, name: str, what: str, hint: str | None = None) -> ConfigError:
    text = f"Cannot load `{path}` into `{name}`:\n    {what}"
    return ConfigError(text if hint is None else f"{text}\nHint: {hint}")


def _shortened(line: str) -> str:
    return line if len(line) <= _LENGTH else f"{line[:_LENGTH]} ..."
