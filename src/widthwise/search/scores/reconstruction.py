"""What the readers of a unit lose with it that the units that stay cannot make up for."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from widthwise.graph import Axis, ChannelGraph
from widthwise.healing.product import product_of
from widthwise.healing.rows import rows_read
from widthwise.network.batches import evaluating
from widthwise.network.outputs import tensors_of
from widthwise.search.distance import probe
from widthwise.search.scores.base import group_norms
from widthwise.search.scores.readers import (
    Reader,
    channels,
    gradients_of,
    inputs_of,
    readers_of,
    watched,
)

_RIDGE = 1e-3
"""Of the second moments, relative to their mean: units that resemble each other are told apart."""
_LARGEST = 6_000
"""Most numbers read for an output whose products are kept; of more, only squares are."""
_PLACES = (8, 64, 73_728)
"""Places of a map that are looked at: at least, at most, and times the numbers read there."""
_STEPS = 256
"""Steps in which the units of an axis go, at most; of wider axes several go in one."""


@dataclass(frozen=True)
class Removal:
    """In which order the units of an axis go, and what is lost on the way.

    Attributes:
        order: Numbers within the axis, first to go first.
        damage: What is lost when so many have gone: ``[width + 1]``, from zero, never falling.
    """

    order: np.ndarray
    damage: np.ndarray


@dataclass(frozen=True)
class Reconstruction:
    """Damage to the network's outputs that the units that stay cannot make up for.

    Optimal brain surgery on whole units: at every layer that reads an axis, the weights of what
    stays are refitted, in closed form, from second moments of what the layer reads; what is left
    over of the error counts as much as the outputs of that layer matter to the answers of the
    network. Units go one by one, each time the one that costs least, and the moments follow: to
    score all at once would remove both of two units that stand in for each other. After Hassibi and
    Stork, "Optimal Brain Surgeon" (NeurIPS 1992), Kurtic et al., "ZipLM" (NeurIPS 2023,
    arXiv:2302.04089); how much outputs matter as in Martens and Grosse, "K-FAC" (ICML 2015,
    arXiv:1503.05671), by answers drawn from the network's own.

    Scores are in units of `widthwise.search.distance` (nats, for scores of classes), and compare
    across axes. Units that no layer reads, such as those that attention computes its logits of, are
    ordered by the squares of their weights; depth-wise and grouped layers pass on.

    Args:
        batches: Inputs as the forward takes them, a few hundred in all; no labels.
        seed: Of the answers that are drawn.
    """

    batches: Iterable[Any] = field(repr=False)
    seed: int = 0

    def __call__(self, graph: ChannelGraph) -> np.ndarray:
        """Score every unit: what its own removal adds to the damage.

        Args:
            graph: The network; not changed.

        Returns:
            Float64, shape ``[units]``.

        Raises:
            ConfigError: If there are no batches, or one holds values that are not finite.
        """
        scores = np.zeros(graph.unit_count)
        for name, removal in self.removals(graph).items():
            # Rounding aside, what is added never falls from one to the next.
            added = np.maximum.accumulate(np.diff(removal.damage))
            scores[graph.axes[name].units.start + removal.order] = added
        return scores

    def removals(
        self, graph: ChannelGraph, progress: Callable[[int, int, str], object] | None = None
    ) -> dict[str, Removal]:
        """Decide for every free axis alone in which order its units go.

        Args:
            graph: The network; not changed.
            progress: Called before each axis with its number, how many there are, and its name.

        Returns:
            By axis.
        """
        readers = readers_of(graph)
        seen = self._seen(graph, readers)
        axes = [axis for axis in graph.axes.values() if axis.frozen is None]
        found: dict[str, Removal] = {}
        for number, axis in enumerate(axes):
            if progress is not None:
                progress(number, len(axes), axis.name)
            parts = [
                part
                for reader in readers
                if (part := _part(reader, axis, seen[reader.path])) is not None
            ]
            if parts:
                found[axis.name] = _removed(parts, axis.width)
        unread = [axis for axis in axes if axis.name not in found]
        if unread:
            totals = [removal.damage[-1] for removal in found.values()]
            norms = group_norms(graph, torch.square)
            for axis in unread:
                found[axis.name] = _by_norms(norms[axis.units], totals)
        return {axis.name: found[axis.name] for axis in axes}

    @torch.inference_mode(False)
    def _seen(self, graph: ChannelGraph, readers: list[Reader]) -> dict[str, _Seen]:
        seen = {reader.path: _Seen() for reader in readers}
        zeros: list[tuple[str, Tensor]] = []

        def watch(reader: Reader, given: Tensor, made: Tensor) -> Tensor:
            if not isinstance(made, Tensor):
                return made
            seen[reader.path].add(reader, given.detach(), made.shape)
            # An addend of its own: parameters need no gradients for it.
            zero = torch.zeros_like(made, requires_grad=True)
            zeros.append((reader.path, zero))
            return made + zero

        generator = torch.Generator().manual_seed(self.seed)
        layers = {reader.path: reader.layer for reader in readers}
        with evaluating(graph.model), watched(readers, watch), torch.enable_grad():
            for inputs in inputs_of(graph, self.batches):
                zeros.clear()
                drawn = probe(tensors_of(inputs.call(graph.model)), generator)
                gradients = gradients_of(drawn, [zero for _, zero in zeros])
                for (path, zero), gradient in zip(zeros, gradients, strict=True):
                    by_place = channels(layers[path], zero if gradient is None else gradient)
                    seen[path].matters(by_place.detach())
                # Once for each item, however often a layer is called.
                for path in {path for path, _ in zeros}:
                    seen[path].items += inputs.batch or 1
        return seen


class _Seen:
    """Second moments of what a layer reads, and how much its outputs matter."""

    def __init__(self) -> None:
        self.count = self.items = 0
        self._x: Tensor = torch.zeros(())
        self._xx: Tensor = torch.zeros(())
        self._squares: Tensor = torch.zeros(())
        self.weight: Tensor = torch.zeros(())

    def add(self, reader: Reader, given: Tensor, made: torch.Size) -> None:
        """Add what it reads."""
        product = product_of(reader.layer, given)
        if product is None:
            return
        self.weight = product.weight.detach()
        reads = self.weight[0].numel()
        least, most, together = _PLACES
        rows = rows_read(reader.layer, product, made, min(most, max(least, together // reads)))[0]
        rows = rows.float()
        self.count += len(rows)
        self._x = self._x + rows.sum(0).double()
        new = rows.square().sum(0) if reads > _LARGEST else rows.T @ rows
        self._xx = self._xx + new.double()

    def matters(self, gradient: Tensor) -> None:
        """Add gradients by its outputs, ``[items, outputs, places]``.

        What is missing at one place of a map may have nothing to do with what is missing at the
        next, or be the same at all: squares of the sum over places are added to the sum of squares.
        """
        gradient = gradient.double()
        self._squares = self._squares + gradient.square().sum((0, 2))
        self._squares = self._squares + gradient.sum(2).square().sum(0)

    @property
    def moments(self) -> Tensor:
        """Covariances of the numbers read, or their variances where those are too many."""
        mean = self._x / self.count
        if self._xx.dim() == 1:
            return (self._xx / self.count - mean.square()).clamp_min(0)
        return self._xx / self.count - torch.outer(mean, mean)

    @property
    def importance(self) -> Tensor:
        """What an error of one adds to the distance, for each output."""
        return 0.25 * self._squares / self.items


class _Part:
    """One reader of an axis: its weights, as important as they are, and the inverse moments."""

    def __init__(self, weight: Tensor, inverse: Tensor, columns: Tensor) -> None:
        self._weight, self._inverse, self._columns = weight, inverse, columns

    def losses(self, units: np.ndarray) -> Tensor:
        """Return what the loss of each unit alone costs after the others are refitted."""
        columns = self._columns[torch.from_numpy(units)]
        blocks = self._inverse[columns[:, :, None], columns[:, None, :]]
        weights = self._weight[:, columns].permute(1, 2, 0)
        return (torch.linalg.solve(blocks, weights) * weights).sum((1, 2))

    def remove(self, unit: int) -> None:
        """Refit the weights without a unit."""
        gone = self._columns[unit]
        rows = self._inverse[gone]
        shares = torch.linalg.solve(rows[:, gone], rows)
        self._weight = self._weight - self._weight[:, gone] @ shares
        self._inverse = self._inverse - rows.T @ shares
        self._weight[:, gone] = 0.0
        self._inverse[gone, gone] = 1.0


class _Apart:
    """One reader of an axis that reads too much for products: nothing is refitted."""

    def __init__(self, losses: Tensor) -> None:
        self._losses = losses

    def losses(self, units: np.ndarray) -> Tensor:
        """Return what the loss of each unit alone costs."""
        return self._losses[torch.from_numpy(units)]

    def remove(self, unit: int) -> None:
        """Do nothing: no loss depends on another."""


def _part(reader: Reader, axis: Axis, seen: _Seen) -> _Part | _Apart | None:
    """Return what a layer loses with units of an axis; None if it reads none, or has not run."""
    inside = np.flatnonzero((reader.units >= axis.units.start) & (reader.units < axis.units.stop))
    if not len(inside) or not seen.count or not seen.items:
        return None
    weight = seen.weight.double().flatten(2 if seen.weight.dim() > 2 else 1)
    weight = weight * seen.importance.sqrt().reshape(-1, *[1] * (weight.dim() - 1))
    taps = weight[0, 0].numel()
    flat, moments = weight.flatten(1), seen.moments
    units = reader.units[inside] - axis.units.start
    if moments.dim() == 1:
        each = (flat.square().sum(0) * moments).reshape(-1, taps).sum(1).cpu()
        losses = torch.zeros(axis.width, dtype=torch.float64)
        return _Apart(losses.index_add(0, torch.from_numpy(units), each[torch.from_numpy(inside)]))
    counts = np.bincount(units, minlength=axis.width)
    assert (counts == counts[0]).all(), "units of one axis appear equally often"
    order = inside[np.argsort(units, kind="stable")].reshape(axis.width, -1)
    columns = (order[:, :, None] * taps + np.arange(taps)).reshape(axis.width, -1)
    strength = _RIDGE * moments.diagonal().mean() + 1e-12
    eye = torch.eye(len(moments), dtype=moments.dtype, device=moments.device)
    return _Part(
        flat, torch.linalg.inv(moments + strength * eye), torch.from_numpy(columns).to(flat.device)
    )


def _removed(parts: list[_Part | _Apart], width: int) -> Removal:
    left = list(range(width))
    order: list[int] = []
    damage = [0.0]
    at_once = -(-width // _STEPS)
    while left:
        units = np.array(left)
        losses = torch.stack([part.losses(units).cpu() for part in parts]).sum(0).numpy()
        for place in np.argsort(losses, kind="stable")[:at_once]:
            order.append(int(units[place]))
            damage.append(damage[-1] + max(float(losses[place]), 0.0))
            left.remove(order[-1])
            for part in parts:
                part.remove(order[-1])
    return Removal(np.array(order), np.array(damage))


def _by_norms(norms: np.ndarray, totals: list[float]) -> Removal:
    order = np.argsort(norms, kind="stable")
    total = norms.sum()
    scale = (float(np.mean(totals)) if totals else 1.0) / (total if total > 0 else 1.0)
    return Removal(order, np.concatenate([[0.0], np.cumsum(norms[order])]) * scale)
