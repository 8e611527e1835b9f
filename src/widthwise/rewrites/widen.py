"""Widen: every free axis several times as wide."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from widthwise import errors
from widthwise.arguments import network_in
from widthwise.graph import ChannelGraph, trace
from widthwise.graph.names import matching
from widthwise.graph.recording.fused import plain_attention
from widthwise.network.copying import copy_module, named_tensors, to_meta
from widthwise.network.initialisation import Build, draw_fresh
from widthwise.network.inputs import Inputs
from widthwise.network.narrowing import narrow_module
from widthwise.rewrites.modules import names
from widthwise.rewrites.registry import register


@register
@dataclass(frozen=True)
class Widen:
    """Every free axis ``factor`` times as wide, by taking each of its units that often.

    Widening is slicing with repeated indices: the index lists that narrow a network, longer than
    its layers. So it works for every network that can be traced, with or without an argument for
    its width, and ties are kept. Frozen axes, such as the classes, stay, and so do axes of a single
    unit, which no plan can narrow: a mask that all channels are multiplied with, a trunk that is
    shuffled into one. Whole groups are repeated: grouped convolutions get more groups of the size
    they had.

    Weights are repeated, too, and the network computes another function; copies of a unit are
    equal, so train it from fresh weights: see :func:`widthwise.widen`. Search spaces of this kind
    are those of Li et al., "The Heterogeneity Hypothesis: Finding Layer-Wise Differentiated Network
    Architectures" (CVPR 2021, arXiv:2006.16242), who widen by the width multiplier of each network.

    Args:
        factor: At least 1. Where it is no integer, widths are rounded, and the first units of an
            axis are taken once more than the others.
        exclude: Names or globs of axes that stay as wide as they are.
        freeze: As in `trace`: modules or tensors that must keep their shapes.
        tie: As in `trace`: layers whose output channels are one.

    Raises:
        ConfigError: If the factor is below 1 or not finite.
    """

    name: ClassVar[str] = "widen"
    factor: float
    exclude: Sequence[str] = ()
    freeze: Sequence[str] = ()
    tie: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "exclude", names(self.exclude))
        object.__setattr__(self, "freeze", names(self.freeze))
        object.__setattr__(self, "tie", tuple(tuple(group) for group in self.tie))
        if not 1 <= self.factor < math.inf:
            raise errors.ConfigError(
                f"A network is widened by a factor of at least 1, got {self.factor!r}.\n"
                "Hint: a plan makes it narrower; see `widthwise.plan`."
            )

    def apply(self, model: nn.Module, inputs: Any) -> nn.Module:
        """Return the wide network; ``model`` is not changed.

        Args:
            model: The network, with or without weights.
            inputs: Example inputs, as for `trace`; the network is traced.

        Returns:
            A network of the same class whose weights are repeated.

        Raises:
            TraceError: If the network cannot be traced, or its code does not run at these widths.
            ConfigError: If a name to exclude matches no axis.
        """
        inputs = Inputs.of(inputs)
        graph = trace(model, inputs, freeze=self.freeze, tie=self.tie)
        wide = narrow_module(model, graph.slots, graph.resized, self._times(graph))
        failure = _failure(wide, inputs)
        # A forward that reads values fails without them at any width.
        if failure is not None and _failure(model, inputs) is None:
            raise errors.not_widened(type(model).__name__, self.factor, failure) from failure
        return wide

    def reference(self, model: nn.Module, inputs: Any) -> None:
        """Return None: a wide network computes another function."""

    def to_spec(self) -> dict[str, Any]:
        """Return the factor, and what else was set."""
        lists = {
            "exclude": list(self.exclude),
            "freeze": list(self.freeze),
            "tie": [list(group) for group in self.tie],
        }
        return {"factor": self.factor, **{key: value for key, value in lists.items() if value}}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Widen:
        """Build it from what `to_spec` returned."""
        return cls(**spec)

    def _times(self, graph: ChannelGraph) -> np.ndarray:
        """Return how often every unit is taken. Integers, shape ``[units]``."""
        times = np.ones(graph.unit_count, np.int64)
        excluded = matching(graph, "exclude", self.exclude)
        for axis in graph.axes.values():
            if axis.frozen is None and axis.width > 1 and axis.name not in excluded:
                wide = math.floor(self.factor * axis.width + 0.5)
                each, more = divmod(wide, axis.width)
                times[axis.units] = each + (np.arange(axis.width) < more)
        return times


def _failure(model: nn.Module, inputs: Inputs) -> Exception | None:
    """Return what a network raises when it runs without values; None for nothing."""
    twin = copy_module(model, to_meta).eval()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]), plain_attention():
            inputs.to_meta().call(twin)
    except Exception as error:
        return error
    return None


def widen(
    model: nn.Module,
    example_inputs: Any,
    factor: float,
    *,
    exclude: Iterable[str] = (),
    factory: Build | None = None,
) -> nn.Module:
    """Return a network that is ``factor`` times as wide everywhere, with fresh weights.

    A plan for it says so in `Plan.before`, as :class:`Widen`.

    Args:
        model: The network, on any device, also ``meta``; not changed.
        example_inputs: A tensor, a tuple of inputs, or a dict of keyword inputs.
        factor: At least 1; widths are rounded.
        exclude: Names or globs of axes that stay as wide as they are.
        factory: Builds ``model``; its constructor then draws the weights at the new widths, see
            `draw_fresh`. Without, they are drawn by the ``reset_parameters`` of the modules, from
            the inside out, and what none of them draws, such as a learned scale, has the values it
            had, repeated: a warning says so.

    Returns:
        A new network of the same class, in the same mode. Its weights are drawn from the global
        generator, so seed it for the same ones again.

    Raises:
        TraceError: If the network cannot be traced, or its code does not run at these widths.
        ConfigError: If the factor is below 1, a name to exclude matches no axis, or the factory
            does not build this network.

    Example:
        >>> import torch, widthwise as ww
        >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 4, 3))
        >>> ww.widen(net, torch.zeros(1, 3, 8, 8), 1.5)
        Sequential(
          (0): Conv2d(3, 12, kernel_size=(3, 3), stride=(1, 1))
          (1): Conv2d(12, 4, kernel_size=(3, 3), stride=(1, 1))
        )
    """
    model = network_in(model, "ww.widen(model, example_inputs, 2.0)")
    wide = Widen(factor, exclude=names(exclude)).apply(model, example_inputs)
    if any(tensor.is_meta for _, tensor in named_tensors(wide)):
        return wide
    if factory is not None:
        draw_fresh(wide, factory)
        return wide
    try:
        draw_fresh(wide, None)
    except errors.ConfigError as error:
        # What can be drawn has been; the rest is said to be as it was.
        warnings.warn(f"Some of the weights are repeated, not fresh. {error}", stacklevel=2)
    return wide
