"""What a trained network is run on: batches as its forward takes them, in evaluation mode."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from widthwise.errors import ConfigError
from widthwise.network.inputs import Inputs


def read_batches(
    batches: Iterable[Any], device: torch.device | None, *, to: str, why: str
) -> Iterator[Inputs]:
    """Yield batches of inputs, on a device.

    Args:
        batches: Inputs as a forward takes them: tensors, tuples or dicts.
        device: Where they go; None leaves them where they are.
        to: What they are for, such as ``heal on``.
        why: What values that are not finite would spoil.

    Yields:
        The batches.

    Raises:
        ConfigError: If there are none, or one holds values that are not finite.
    """
    if isinstance(batches, torch.Tensor | Mapping):
        raise ConfigError(
            f"One batch was passed as the batches to {to}.\nHint: pass a list of it: `[batch]`."
        )
    number = -1
    for number, batch in enumerate(batches):
        inputs = Inputs.of(batch)
        if device is not None:
            inputs = inputs.map(lambda tensor: tensor.to(device))
        for tensor in inputs.tensors:
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                raise ConfigError(
                    f"Batch {number} holds values that are not finite: {inputs.describe()}.\n"
                    f"Why: {why} what the network makes of the batches."
                )
        yield inputs
    if number < 0:
        raise ConfigError(
            f"There are no batches to {to}.\n"
            "Hint: pass a few hundred inputs, such as `[images[:512]]`; an iterator that has been "
            "read is empty."
        )


@contextmanager
def evaluating(*networks: nn.Module) -> Iterator[None]:
    """Put networks into evaluation mode for a while."""
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
