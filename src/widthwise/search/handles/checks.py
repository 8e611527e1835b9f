"""What handles ask of their numbers, of the optimizer and of training."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from widthwise.errors import ConfigError, SearchError


def require_non_negative(**numbers: float) -> None:
    """Raise an error for the first number, by its name, that is not finite or below 0."""
    for name, value in numbers.items():
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"`{name}` must be a finite number of at least 0, got {value!r}.")


def learning_rates(
    optimizer: Optimizer, parameters: Iterable[nn.Parameter], what: str
) -> dict[nn.Parameter, float]:
    """Return the learning rates that an optimizer has for some parameters at this moment.

    Args:
        optimizer: It trains the network and what a handle has added to it.
        parameters: What a handle moves after every step.
        what: What to call them in an error, such as ``latents``.

    Returns:
        The rate of the group that each is in.

    Raises:
        SearchError: If the optimizer lacks some of them.
    """
    rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    wanted = list(parameters)
    strangers = sum(id(parameter) not in rates for parameter in wanted)
    if strangers:
        raise SearchError(
            f"The {type(optimizer).__name__} optimizer does not hold the {what} of this search: "
            f"it lacks {strangers} of {len(wanted)} parameters.\n"
            "Why: an optimizer made before the search was attached, or from a part of the network, "
            "does not know them, so they would never be trained.\n"
            "Hint: create the optimizer after the search, from `model.parameters()`."
        )
    return {parameter: float(rates[id(parameter)]) for parameter in wanted}


def require_finite(values: Tensor, what: str) -> None:
    """Raise an error if a value is NaN or infinite, for no width can be read from it.

    Args:
        values: What widths are read from. An accelerator is waited for.
        what: What to call them, such as ``latents``.

    Raises:
        SearchError: If one is not finite.
    """
    if not bool(torch.isfinite(values).all()):
        raise SearchError(
            f"The {what} are no longer finite.\n"
            f"Why: training has diverged; no width can be read from NaN or infinite {what}.\n"
            "Hint: lower the learning rate, clip gradients, or warm up; then resume from a "
            "checkpoint made before. `search.abandon()` gives the network back as it was."
        )
