"""The channel graph of a network: what a trace finds out, and all a search needs to know."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from torch import nn

from widthwise import errors
from widthwise.graph.axes import Axis, Units
from widthwise.graph.constraints import Constraints
from widthwise.graph.costs import Cost, CostTable
from widthwise.graph.recording.places import Place
from widthwise.network.copying import walk
from widthwise.network.inputs import Inputs
from widthwise.network.narrowing import is_known_layer, repeats
from widthwise.rules import Label, UnitNumbers

if TYPE_CHECKING:
    from widthwise.graph.preflight import Quantity


class ChannelGraph:
    """Axes, units, ties, frozen reasons and costs of one network.

    Made by :func:`widthwise.trace`. It holds no weights and keeps the network only weakly.

    Attributes:
        axes: Every axis by name, in execution order, frozen ones included.
        unit_count: Number of units. Units are numbered so that each axis is a range.
        slots: Per tensor name and dim, the unit of every index; None where a dim is space.
        resized: Sizes that attributes of modules repeat, per module path and attribute.
        model_name: Class name of the network.
        inputs: The example inputs.
        mixes: Whether some result depends on which channels exist by more than weights (a layer
            norm, a mean over channels, a scale computed from a width); the proof then says so.
        consumers: Per tensor name the dims that are summed over with an activation, such as the
            in-channels of a weight.
        readings: Which reading of an ambiguous call the dry run settled on.
        drawn: Unit numbers along the dims of random numbers that the forward draws, in order.
        notes: What the trace wants its reader to know.
        constraints: What the user asked to freeze and to tie.
    """

    def __init__(
        self,
        model: nn.Module,
        inputs: Inputs,
        units: Units,
        *,
        macs: list[Cost],
        activations: list[Cost],
        consumers: Mapping[str, tuple[int, ...]],
        readings: dict[Place, int],
        drawn: Sequence[Label],
        mixes: bool,
        notes: tuple[str, ...],
        unfollowed: tuple[tuple[str, list[UnitNumbers]], ...],
        constraints: Constraints,
    ) -> None:
        self._model = weakref.ref(model)
        self.model_name = type(model).__name__
        self.inputs = inputs
        self.axes: Mapping[str, Axis] = MappingProxyType(units.axes)
        self.unit_count = units.count
        self.resized = MappingProxyType(units.resized)
        self.slots: Mapping[str, tuple[UnitNumbers | None, ...]] = MappingProxyType(units.slots)
        self.mixes = mixes
        self.notes = notes
        self.readings = readings
        self.drawn = tuple(drawn)
        self.consumers = MappingProxyType(dict(consumers))
        self.constraints = constraints
        self._unfollowed = unfollowed
        modules = dict(walk(model))
        self._of_users = [
            (path, attribute)
            for (path, attribute), sizes in units.resized.items()
            if not is_known_layer(modules[path]) and repeats(modules[path], attribute, sizes)
        ]
        self._macs = macs
        self._activations = activations
        self._shapes = {name: tuple(p.shape) for name, p in model.named_parameters()}
        self._bytes = {name: p.element_size() for name, p in model.named_parameters()}

    @property
    def model(self) -> nn.Module:
        """The network this graph was traced from.

        Raises:
            TraceError: If it is gone.
        """
        model = self._model()
        if model is None:
            raise errors.TraceError(
                f"The `{self.model_name}` this graph was traced from no longer exists.\n"
                "Why: a graph keeps its network weakly, so as not to hold its weights.\n"
                "Hint: keep a reference to the model as long as you use its graph."
            )
        return model

    def is_of(self, model: nn.Module) -> bool:
        """Tell whether this graph was traced from that very network."""
        return self._model() is model

    @cached_property
    def everything(self) -> np.ndarray:
        """The mask that keeps every unit. Shape ``[units]``, bool."""
        mask = np.ones(self.unit_count, bool)
        mask.flags.writeable = False
        return mask

    @cached_property
    def free(self) -> np.ndarray:
        """Which units a plan may remove. Shape ``[units]``, bool."""
        mask = np.zeros(self.unit_count, bool)
        for axis in self.axes.values():
            if axis.frozen is None:
                mask[axis.units] = True
        mask.flags.writeable = False
        return mask

    def macs(self, kept: np.ndarray | None = None) -> int:
        """Count multiply-accumulates for one input: of layers, and of products of activations.

        Args:
            kept: Which units stay, bool, shape ``[units]``; all of them by default.

        Returns:
            MACs; one multiply and one add count as 1.
        """
        return self._mac_table.total(self.everything if kept is None else kept)

    def params(self, kept: np.ndarray | None = None) -> int:
        """Count parameters, trainable or not; buffers are not counted."""
        return self._parameter_table.total(self.everything if kept is None else kept)

    def parameter_bytes(self, kept: np.ndarray | None = None) -> int:
        """Count the bytes of all parameters."""
        return self._parameter_byte_table.total(self.everything if kept is None else kept)

    def activation_bytes(self, kept: np.ndarray | None = None) -> int:
        """Count the bytes that all operators write for one input, views not included.

        This is what a training step holds at most for its backward pass; inference frees most of
        it on the way. Operators are counted as PyTorch decomposes them without a device; fused
        kernels of a device may write less.

        Args:
            kept: Which units stay, bool, shape ``[units]``; all of them by default.

        Returns:
            Bytes.
        """
        return self._activation_table.total(self.everything if kept is None else kept)

    @cached_property
    def _mac_table(self) -> CostTable:
        return CostTable(self._macs, self.unit_count)

    @cached_property
    def _activation_table(self) -> CostTable:
        return CostTable(self._activations, self.unit_count)

    @cached_property
    def _parameter_table(self) -> CostTable:
        return CostTable(self._parameter_costs({}), self.unit_count)

    @cached_property
    def _parameter_byte_table(self) -> CostTable:
        return CostTable(self._parameter_costs(self._bytes), self.unit_count)

    def _parameter_costs(self, unit_bytes: dict[str, int]) -> list[Cost]:
        costs = []
        for name, shape in self._shapes.items():
            constant = unit_bytes.get(name, 1)
            factors = []
            for size, units in zip(shape, self.slots[name], strict=True):
                if units is None:
                    constant *= size
                else:
                    factors.append(units)
            costs.append(Cost(constant, tuple(factors)))
        return costs

    def smallest(self) -> np.ndarray:
        """Return the mask that keeps the fewest units of every free axis, and all that is frozen.

        One unit, or the axis' `floor`, where the code does not run with fewer.
        """
        mask = ~self.free
        for axis in self.axes.values():
            mask[axis.units.start : axis.units.start + axis.floor] = True
        return mask

    def attributes(self, kept: np.ndarray) -> dict[str, tuple[int, ...]]:
        """Return the attributes of the user's modules that a plan changes, with their new values.

        Sizes that code keeps in attributes (``self.head_size``) have to follow widths. Those of
        known layers do so without being listed here.

        Args:
            kept: Which units stay, bool, shape ``[units]``.

        Returns:
            New values by dotted name; one value for an integer, several for a tuple.
        """
        found = {}
        for path, attribute in self._of_users:
            sizes = self.resized[path, attribute]
            counts = [size if isinstance(size, int) else int(kept[size].sum()) for size in sizes]
            full = [size if isinstance(size, int) else len(size) for size in sizes]
            if counts != full:
                found[f"{path}.{attribute}".strip(".")] = tuple(counts)
        return found

    def stale(self, kept: np.ndarray) -> tuple[str, ...]:
        """Return attributes that may tell of a width which a plan changes, and stay as they are.

        No forward reads them, and nothing says which width they tell of; it may be another one.

        Args:
            kept: Which units stay, bool, shape ``[units]``.

        Returns:
            Dotted names.
        """
        return tuple(
            name
            for name, places in self._unfollowed
            if not all(bool(kept[units].all()) for units in places)
        )

    def report(self, *, costs: Sequence[Quantity] = ()) -> str:
        """Return the pre-flight report: axes, ties, shares of MACs, what is frozen and why.

        Args:
            costs: Budgets whose quantities get a column and a line of their own, whatever their
                limits are, such as ``ww.Params(0.5)``; ``ww.Latency(keep=0.5)`` measures here.

        Returns:
            Plain text.
        """
        from widthwise.graph.preflight import report

        return report(self, costs=costs)

    def __str__(self) -> str:
        """The pre-flight report."""
        return self.report()

    def __repr__(self) -> str:
        """One line."""
        free = sum(axis.frozen is None for axis in self.axes.values())
        return (
            f"ChannelGraph({self.model_name}, {len(self.axes)} axes, {free} free, "
            f"{self.macs():,} MACs, {self.params():,} parameters)"
        )
