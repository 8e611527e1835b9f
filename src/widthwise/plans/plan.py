"""The plan: which units every axis keeps. The only output of a search; a small, readable file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
import torch

from widthwise import errors, rewrites
from widthwise._version import __version__
from widthwise.cost import Budget, Latency, costs_of
from widthwise.files import write_atomically
from widthwise.graph import ChannelGraph
from widthwise.network.spec import unknown_in
from widthwise.plans import file
from widthwise.plans.adopting import mask_of
from widthwise.plans.axis import AxisPlan
from widthwise.plans.composing import composed
from widthwise.plans.text import difference, table
from widthwise.rewrites import Rewrite

FORMAT = 2
"""Version of the file format. A reader refuses files of a newer one.

2: `before`; `attributes` was called `rewrites`, and `constraints` may have been called `wishes`.
"""

_Value = TypeVar("_Value")


@dataclass(frozen=True)
class Plan:
    """Which units every axis keeps, and what that costs.

    A plan holds no weights. `shrink` applies it to the network it was made for; saved, it rebuilds
    that network anywhere from the user's own class.

    Attributes:
        axes: What happens to each axis, in execution order. Frozen axes keep everything.
        model_name: Class name of the network.
        inputs: Shapes and dtypes of the example inputs, as nested JSON.
        constraints: What the trace was asked to freeze and to tie; empty for nothing.
        cost: What the narrow network costs for one input, by the names of `cost.COUNTED`.
        full_cost: The same of the user's own network, before any rewrite.
        attributes: Sizes that the user's modules remember and that change, such as a head size, by
            dotted name.
        budget: What was asked for, by name of the quantity.
        method: What decided: a score, or a search method.
        seed: The seed of the search; None where nothing is random.
        versions: Of Widthwise and torch when the plan was made.
        before: What is done to the user's network before it is cut, in order. Axes are those of the
            rewritten network.
        stale: Attributes, by dotted name, that may tell of a narrowed width and stay as they are:
            nothing says of which; see `ChannelGraph.stale`.
        latency: Milliseconds of the full and the narrow network, predicted and measured, where they
            were asked for; see `Latency.measured`.
        graph: The graph it was made from, while in memory; not saved and not compared.
    """

    axes: Mapping[str, AxisPlan]
    model_name: str
    inputs: Mapping[str, Any]
    cost: Mapping[str, float]
    full_cost: Mapping[str, float]
    attributes: Mapping[str, tuple[int, ...]]
    budget: Mapping[str, float | str]
    method: str
    seed: int | None
    versions: Mapping[str, str]
    constraints: Mapping[str, Any] = field(default_factory=dict)
    before: tuple[Rewrite, ...] = ()
    stale: tuple[str, ...] = ()
    latency: Mapping[str, Any] = field(default_factory=dict)
    graph: ChannelGraph | None = field(default=None, compare=False, repr=False)

    @classmethod
    def of(
        cls,
        graph: ChannelGraph,
        kept: np.ndarray,
        *,
        budgets: Sequence[Budget] = (),
        method: str = "by hand",
        seed: int | None = None,
        before: Sequence[Rewrite] = (),
        full_cost: Mapping[str, float] | None = None,
    ) -> Plan:
        """Make a plan from a mask.

        Args:
            graph: The network that is cut.
            kept: Which units stay. Shape ``[units]``, bool.
            budgets: What was asked for.
            method: What decided.
            seed: The seed it used.
            before: The rewrites that made this network of the user's own.
            full_cost: What the user's own network costs, see `costs_of`, where that is not the one
                of the graph.

        Returns:
            The plan.

        Raises:
            PlanError: If the mask removes a frozen unit, or leaves an axis fewer units than the
                network runs with.
        """
        kept = np.asarray(kept, bool)
        problems = []
        for axis in graph.axes.values():
            own = kept[axis.units]
            if axis.frozen is not None and not own.all():
                problems.append(f"`{axis.name}` is frozen: {axis.frozen}")
            elif not own.any():
                problems.append(f"`{axis.name}` would keep no unit")
            elif own.sum() < axis.floor:
                problems.append(
                    f"`{axis.name}` would keep {own.sum()} units; the network needs {axis.floor}"
                )
        if problems:
            raise errors.PlanError("No such plan:\n    " + "\n    ".join(problems))
        return cls(
            axes=MappingProxyType(
                {
                    axis.name: AxisPlan.of(axis, np.flatnonzero(kept[axis.units]).tolist())
                    for axis in graph.axes.values()
                }
            ),
            model_name=graph.model_name,
            inputs=graph.inputs.to_spec(),
            cost=costs_of(graph, kept),
            full_cost=dict(costs_of(graph) if full_cost is None else full_cost),
            attributes=graph.attributes(kept),
            budget={budget.name: budget.amount for budget in budgets},
            method=method,
            seed=seed,
            versions={"widthwise": __version__, "torch": torch.__version__},
            constraints=graph.constraints.to_spec(),
            before=tuple(before),
            stale=graph.stale(kept),
            latency=_measured(graph, kept, budgets),
            graph=graph,
        )

    @classmethod
    def from_state_dict(cls, graph: ChannelGraph, state_dict: Mapping[str, torch.Tensor]) -> Plan:
        """Adopt the widths of a checkpoint that was cut elsewhere.

        ``shrink(model, plan)`` then makes a network that loads the checkpoint. Which units it has
        kept is not in a checkpoint, so the plan names the first of each axis: the weights come from
        the checkpoint, not from the full network.

        Args:
            graph: The network it was cut from.
            state_dict: The checkpoint; only names and shapes are read.

        Returns:
            The plan. Where several widths give these shapes, the widest.

        Raises:
            PlanError: If no widths do.
        """
        return cls.of(graph, mask_of(graph, state_dict), method="adopted from a checkpoint")

    def then(self, later: Plan) -> Plan:
        """Return one plan for two cuts: this one, and one of the network that it leaves.

        With it, ``save`` and ``load`` need nothing but the full network's class.

        Args:
            later: Made for the network that ``shrink`` made by this one.

        Raises:
            PlanError: If it was made for another network, or begins with a rewrite.
        """
        if later.before:
            raise errors.PlanError("A plan that begins with a rewrite cannot follow another.")
        return replace(
            later,
            axes=MappingProxyType(composed(self.axes, later.axes)),
            full_cost=self.full_cost,
            method=f"{self.method}, then {later.method}",
            before=self.before,
            latency={},
            graph=self.graph,
        )

    @property
    def widths(self) -> dict[str, int]:
        """Kept units per axis."""
        return {name: len(axis.kept) for name, axis in self.axes.items()}

    @property
    def kept(self) -> dict[str, np.ndarray]:
        """Numbers of the kept units per axis, int64, within the axis."""
        return {name: np.array(axis.kept, np.int64) for name, axis in self.axes.items()}

    @property
    def full_macs(self) -> int:
        """MACs of the full network for one input."""
        return int(self.full_cost["macs"])

    @property
    def full_params(self) -> int:
        """Parameters of the full network."""
        return int(self.full_cost["params"])

    def macs(self) -> int:
        """Return the MACs of the narrow network for one input."""
        return int(self.cost["macs"])

    def params(self) -> int:
        """Return the parameters of the narrow network."""
        return int(self.cost["params"])

    def mask(self, graph: ChannelGraph) -> np.ndarray:
        """Return which units of a graph this plan keeps. Shape ``[units]``, bool.

        Raises:
            PlanError: If the plan was made for another network.
        """
        problems = [
            f"`{name}`: {problem}"
            for name, axis in self.axes.items()
            for problem in axis.differences(graph.axes.get(name))
        ]
        problems += [
            f"`{name}`: not in the plan, {found.width} units in the network"
            for name, found in graph.axes.items()
            if name not in self.axes
        ]
        if problems:
            raise errors.wrong_network(problems)
        mask = graph.everything.copy()
        for name, axis in self.axes.items():
            own = np.zeros(axis.width, bool)
            own[list(axis.kept)] = True
            mask[graph.axes[name].units] = own
        return mask

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan as JSON, whole or not at all.

        Raises:
            PlanError: If the example inputs hold something that a file cannot.
        """
        for kind in unknown_in(self.inputs):
            raise errors.unknown_input(kind)
        write_atomically(path, self.to_json())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Plan:
        """Read a plan.

        Args:
            path: A file that `save` wrote.

        Returns:
            The plan, without a graph: `shrink` traces the network again.

        Raises:
            PlanError: If the file is missing or no plan: cut short, edited since it was saved, of a
                newer format, or with a rewrite that nobody has registered.
        """
        data = file.read_json(path)
        try:
            version = _require(data, "format", int)
            if version > FORMAT:
                raise errors.damaged_plan(
                    path, f"it has format {version}, this version reads {FORMAT} and older."
                )
            plan = cls._from_json(data)
        except errors.PlanError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise errors.damaged_plan(path, f"{type(error).__name__}: {error}.") from error
        file.check(path, data)
        return plan

    def to_json(self) -> str:
        """Return the plan as deterministic JSON, an axis per line, and its checksum."""
        head = {
            "format": FORMAT,
            "model": self.model_name,
            "inputs": self.inputs,
            "method": self.method,
            "seed": self.seed,
            "budget": self.budget,
            "cost": self.cost,
            "full_cost": self.full_cost,
            "attributes": self.attributes,
            "versions": self.versions,
            **({"constraints": self.constraints} if self.constraints else {}),
            **({"before": [rewrites.to_spec(each) for each in self.before]} if self.before else {}),
            **({"stale": self.stale} if self.stale else {}),
            **({"latency": self.latency} if self.latency else {}),
        }
        axes = {name: axis.to_spec() for name, axis in self.axes.items()}
        head[file.CHECKSUM] = file.checksum_of({**head, "axes": axes})
        lines = [f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in head.items()]
        rows = [f"    {json.dumps(name)}: {json.dumps(axis)}" for name, axis in axes.items()]
        body = ",\n".join(rows)
        return "{\n" + ",\n".join(lines) + ',\n  "axes": {\n' + body + "\n  }\n}\n"

    @classmethod
    def _from_json(cls, data: Mapping[str, Any]) -> Plan:
        axes = {
            name: AxisPlan.from_spec(spec) for name, spec in _require(data, "axes", dict).items()
        }
        old = data["format"] == 1
        attributes = _require(data, "rewrites" if old else "attributes", dict)
        costs = {
            key: {name: _number(value) for name, value in _require(data, key, dict).items()}
            for key in ("cost", "full_cost")
        }
        # What every reader of a plan asks for; other quantities came and will come with versions.
        for key, name in product(costs, ("macs", "params")):
            if name not in costs[key]:
                raise ValueError(f"`{key}` does not say `{name}`")
        constraints = "wishes" if "wishes" in data else "constraints"
        seed = data["seed"]
        return cls(
            axes=MappingProxyType(axes),
            model_name=_require(data, "model", str),
            inputs=_require(data, "inputs", dict),
            cost=costs["cost"],
            full_cost=costs["full_cost"],
            attributes={key: tuple(value) for key, value in attributes.items()},
            budget=_require(data, "budget", dict),
            method=_require(data, "method", str),
            seed=None if seed is None else int(seed),
            versions=_require(data, "versions", dict),
            constraints=_require({"constraints": {}, **data}, constraints, dict),
            before=tuple(rewrites.from_spec(each) for each in data.get("before", ())),
            stale=tuple(map(str, _require({"stale": [], **data}, "stale", list))),
            latency=_milliseconds(_require({"latency": {}, **data}, "latency", dict)),
        )

    def __reduce__(self) -> tuple[Callable[[str], Plan], tuple[str]]:
        """Pickle and copy as JSON: processes exchange plans, not graphs."""
        return _from_text, (self.to_json(),)

    def diff(self, other: Plan) -> str:
        """Describe how another plan differs from this one: rewrites, then an axis per line."""
        return difference(self, other)

    def __str__(self) -> str:
        """A table of widths, and the cost."""
        return table(self)


def _require(data: Any, key: str, kind: type[_Value]) -> _Value:
    """Return an entry of a file, if it is of its type."""
    if not isinstance(data, dict):
        raise ValueError("it holds no fields")
    value = data[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise ValueError(f"`{key}` is {value!r}, expected {kind.__name__}")
    return value


def _measured(
    graph: ChannelGraph, kept: np.ndarray, budgets: Sequence[Budget]
) -> Mapping[str, Any]:
    return next((b.measured(graph, kept) for b in budgets if isinstance(b, Latency)), {})


def _milliseconds(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a file says of latency, if it is nothing or all that is printed of it."""
    if data:
        for key in ("full", "measured", "predicted", "bound", "batch", "threads"):
            if not _number(data[key]) > 0:
                raise ValueError(f"`latency` has {data[key]!r} as `{key}`")
        _require(data, "engine", str)
    return data


def _from_text(text: str) -> Plan:
    return Plan._from_json(json.loads(text))


def _number(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise TypeError(f"{value!r} is not a number")
    return value
