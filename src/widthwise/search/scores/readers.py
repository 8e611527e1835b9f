"""The layers that read the units of a network, and what they read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from widthwise.errors import ConfigError
from widthwise.graph import ChannelGraph
from widthwise.healing.product import CONVOLUTIONS
from widthwise.network.batches import read_batches
from widthwise.network.inputs import Inputs
from widthwise.search.scores.base import group_norms


@dataclass(frozen=True)
class Reader:
    """A convolution or linear layer that mixes what it reads.

    Attributes:
        path: Of the module.
        layer: The module.
        units: Unit of each of its input channels.
    """

    path: str
    layer: nn.Module
    units: np.ndarray

    @property
    def weight(self) -> Tensor:
        """Its weights, ``[out, in, ...]``."""
        return self.layer.get_parameter("weight").detach()


def readers_of(graph: ChannelGraph) -> list[Reader]:
    """Find the layers that read units of free axes.

    Depth-wise and grouped convolutions are none: what they make belongs to the units that they
    read, or to a group of them.

    Args:
        graph: The network.

    Returns:
        The readers, in the order of the modules.
    """
    free = np.zeros(graph.unit_count, bool)
    for axis in graph.axes.values():
        free[axis.units] = axis.frozen is None
    found = []
    for path, module in graph.model.named_modules():
        slots = graph.slots.get(f"{path}.weight" if path else "weight")
        if not isinstance(module, (*CONVOLUTIONS, nn.Linear)) or slots is None:
            continue
        if getattr(module, "groups", 1) > 1 or "weight" not in module._parameters:
            continue
        if module.get_parameter("weight").is_meta:
            raise ConfigError(
                f"This score runs the network, and `{path}.weight` of `{graph.model_name}` is on "
                "the meta device.\nHint: trace a network that has weights."
            )
        if slots[1] is not None and free[slots[1]].any():
            found.append(Reader(path, module, slots[1]))
    return found


def inputs_of(graph: ChannelGraph, batches: Iterable[Any]) -> Iterator[Inputs]:
    """Read batches to score on, on the device of the network.

    Args:
        graph: The network.
        batches: Inputs as its forward takes them.

    Returns:
        The batches, one by one.

    Raises:
        ConfigError: If there are none, or one holds values that are not finite.
    """
    return read_batches(batches, device_of(graph), to="score on", why="units are scored by")


def device_of(graph: ChannelGraph) -> torch.device | None:
    """Return the device of the network's first parameter; None if it has none."""
    first = next(graph.model.parameters(), None)
    return None if first is None else first.device


@contextmanager
def watched(
    readers: Iterable[Reader], watch: Callable[[Reader, Tensor, Tensor], Tensor | None]
) -> Iterator[None]:
    """Call a function with what each reader reads and makes, and let it replace the latter."""

    def hook(reader: Reader) -> Callable[..., Tensor | None]:
        def call(_: nn.Module, args: Any, kwargs: Any, output: Tensor) -> Tensor | None:
            return watch(reader, [*args, *kwargs.values()][0], output)

        return call

    handles = [
        reader.layer.register_forward_hook(hook(reader), with_kwargs=True) for reader in readers
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def gradients_of(value: Tensor, zeros: Sequence[Tensor]) -> Sequence[Tensor | None]:
    """Return the gradients of a value by what was added; None where it does not depend on it.

    Args:
        value: A scalar.
        zeros: What was added to activations.

    Returns:
        One gradient each.

    Raises:
        ConfigError: If PyTorch cannot compute them.
    """
    if not zeros or not value.requires_grad:
        return [None] * len(zeros)
    try:
        return torch.autograd.grad(value, zeros, allow_unused=True)
    except RuntimeError as error:
        raise ConfigError(
            f"This score needs gradients, and they cannot be computed: {error}\n"
            "Why: code of the network works in place on what its gradients are computed of; it "
            "could not be trained either.\n"
            "Hint: use a score that needs none, such as `Variance` or `L1`."
        ) from error


def channels(layer: nn.Module, x: Tensor) -> Tensor:
    """Return what a layer reads or makes as ``[items, channels, places]``."""
    if isinstance(layer, nn.Linear):
        return x.reshape(x.shape[0] if x.dim() > 1 else 1, -1, x.shape[-1]).transpose(1, 2)
    dims = layer.get_parameter("weight").dim()
    x = x.unsqueeze(0) if x.dim() == dims - 1 else x
    return x.flatten(2)


def with_unread(graph: ChannelGraph, scores: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Fill in units that no reader reads, such as what attention computes its logits of.

    They get the squares of their weights, scaled so that their axis has the mean of the others.

    Args:
        graph: The network.
        scores: Shape ``[units]``; not changed.
        seen: Which units have one, bool.

    Returns:
        Scores of all units.
    """
    filled = scores.copy()
    unread = [axis for axis in graph.axes.values() if not seen[axis.units].all()]
    if unread:
        means = [scores[a.units].mean() for a in graph.axes.values() if seen[a.units].all()]
        norms = group_norms(graph, torch.square)
        for axis in unread:
            mean = norms[axis.units].mean()
            scale = (float(np.mean(means)) if means else 1.0) / (mean if mean > 0 else 1.0)
            filled[axis.units] = norms[axis.units] * scale
    return filled
