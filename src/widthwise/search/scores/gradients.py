"""What a loss, or the network's own answers, would lose with a unit: by gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widthwise.errors import ConfigError, SearchError
from widthwise.graph import ChannelGraph
from widthwise.network.batches import evaluating
from widthwise.network.inputs import Inputs
from widthwise.network.outputs import tensors_of
from widthwise.search.distance import probe
from widthwise.search.scores.readers import (
    Reader,
    channels,
    device_of,
    gradients_of,
    inputs_of,
    readers_of,
    with_unread,
)
from widthwise.search.seeding import seeded


@dataclass(frozen=True, kw_only=True)
class Taylor:
    """First-order estimate of what the loss changes by when a unit goes.

    The mean over batches of the square of ``sum of a * dL/da``, over all that is read of the unit.
    Criterion of Molchanov et al., "Importance Estimation for Neural Network Pruning" (CVPR 2019,
    arXiv:1906.10771), with all readers of a unit in one sum.

    Args:
        loss: Called as ``loss(network(inputs), target)``; returns a scalar.
        batches: Pairs ``(inputs, target)``.
    """

    loss: Callable[[Any, Any], Tensor] = field(repr=False)
    batches: Iterable[Any] = field(repr=False)

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit.

        Args:
            graph: The network; not changed.

        Returns:
            Float64, shape ``[units]``.

        Raises:
            ConfigError: If there are no batches, or the loss does not depend on the network.
            SearchError: If a gradient is not finite.
        """

        def objective(outputs: Any, target: Any) -> Tensor:
            return self.loss(outputs, target)

        scores = np.zeros(graph.unit_count)
        seen = np.zeros(graph.unit_count, bool)
        with evaluating(graph.model):
            for inputs, target in _pairs(graph, self.batches):
                sums, met = _products(graph, inputs, target, objective)
                scores += np.square(sums.sum(0))
                seen |= met
        return with_unread(graph, scores, seen)


@dataclass(frozen=True, kw_only=True)
class Fisher:
    """Second-order estimate of what the network's answers, or a loss, lose with a unit.

    The mean over items of the square of ``sum of a * dL/da`` over all that is read of the unit:
    the diagonal of the Fisher information by gates on units. Criterion of Theis et al., "Faster
    gaze prediction with dense networks and Fisher pruning" (arXiv:1801.05787) and Liu et al.,
    "Group Fisher Pruning" (ICML 2021, arXiv:2108.00708).

    Args:
        batches: Inputs as the forward takes them; pairs ``(inputs, target)`` with a loss.
        loss: Called as ``loss(network(inputs), target)``; returns a scalar, a mean over items.
            Without one, the gradients are those of answers that are drawn from the network's own.
        seed: Of what is drawn.
    """

    batches: Iterable[Any] = field(repr=False)
    loss: Callable[[Any, Any], Tensor] | None = field(default=None, repr=False)
    seed: int = 0

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit.

        Args:
            graph: The network; not changed.

        Returns:
            Float64, shape ``[units]``.

        Raises:
            ConfigError: If there are no batches, or the loss does not depend on the network.
            SearchError: If a gradient is not finite.
        """
        generator = torch.Generator().manual_seed(self.seed)
        loss = self.loss

        def objective(outputs: Any, target: Any) -> Tensor:
            if loss is None:
                return probe(tensors_of(outputs), generator)
            return loss(outputs, target)

        given: Iterable[tuple[Inputs, Any]] = (
            ((inputs, None) for inputs in inputs_of(graph, self.batches))
            if loss is None
            else _pairs(graph, self.batches)
        )
        scores, items = np.zeros(graph.unit_count), 0
        seen = np.zeros(graph.unit_count, bool)
        with evaluating(graph.model):
            for inputs, target in given:
                sums, met = _products(graph, inputs, target, objective)
                # The gradient of a mean is that of an item by their number.
                scores += np.square(sums * (1 if loss is None else len(sums))).sum(0)
                items += len(sums)
                seen |= met
        return with_unread(graph, scores / max(items, 1), seen)


def _pairs(graph: ChannelGraph, batches: Iterable[Any]) -> Iterable[tuple[Inputs, Any]]:
    number, device = -1, device_of(graph)
    for number, batch in enumerate(batches):
        if not isinstance(batch, tuple | list) or len(batch) != 2:
            raise ConfigError(
                f"Batch {number} is no pair (inputs, target), which a loss is computed of."
            )
        (inputs,) = inputs_of(graph, [batch[0]])
        target = batch[1]
        yield inputs, target.to(device) if isinstance(target, Tensor) else target
    if number < 0:
        raise ConfigError("There are no batches to score on: pass pairs (inputs, target).")


@torch.inference_mode(False)
def _products(
    graph: ChannelGraph,
    inputs: Inputs,
    target: Any,
    objective: Callable[[Any, Any], Tensor],
) -> tuple[np.ndarray, np.ndarray]:
    """Return ``a * dL/da``, summed over readers and places, ``[items, units]``; and which are read.

    As a layer is linear in what it reads, that is the gradient by its outputs times the part of
    them that the unit makes: the weights times their own gradient, item by item.
    """
    given: list[tuple[Reader, Tensor]] = []

    def before(reader: Reader) -> Callable[..., Any]:
        def hook(_: Any, args: Any, kwargs: Any) -> Any:
            first = [*args, *kwargs.values()][0]
            # An addend of its own: parameters need no gradients for it.
            zero = torch.zeros_like(first, requires_grad=True)
            given.append((reader, zero))
            summed = first + zero
            # Not `first`: code may work on that in place afterwards.
            read.append(summed.detach())
            if args:
                return (summed, *args[1:]), kwargs
            name = next(iter(kwargs))
            return args, {**kwargs, name: summed}

        return hook

    read: list[Tensor] = []
    readers = readers_of(graph)
    handles = [
        reader.layer.register_forward_pre_hook(before(reader), with_kwargs=True)
        for reader in readers
    ]
    try:
        device = device_of(graph)
        with torch.enable_grad(), seeded(0, device or torch.device("cpu")):
            loss = objective(inputs.call(graph.model), target)
            if not isinstance(loss, Tensor) or not loss.requires_grad:
                raise ConfigError(
                    "The loss does not depend on what the layers of the network read.\n"
                    "Hint: compute it from the outputs, without `detach()`, `no_grad` or `item()`."
                )
            gradients = gradients_of(loss, [zero for _, zero in given])
    finally:
        for handle in handles:
            handle.remove()
    items = inputs.batch or 1
    sums = np.zeros((graph.unit_count, items))
    met = np.zeros(graph.unit_count, bool)
    for (reader, _), x, gradient in zip(given, read, gradients, strict=True):
        met[reader.units] = True
        if gradient is None:
            continue
        if not bool(gradient.isfinite().all()):
            raise SearchError(
                f"A gradient at `{reader.path}` is not finite.\n"
                "Hint: check the batches for values that are out of range, or use float32."
            )
        found = channels(reader.layer, x * gradient).double().sum(2).cpu().numpy()
        if len(found) % items == 0:
            # Places that were folded into the items, those of an item in a row.
            found = found.reshape(items, -1, found.shape[1]).sum(1)
        else:
            found = np.broadcast_to(found.sum(0) / items, (items, found.shape[1]))
        np.add.at(sums, reader.units, found.T)
    return sums.T, met
