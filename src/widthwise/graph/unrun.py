"""Sizes that only code reads which no pass runs: methods that split where the forward does."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import FunctionType
from typing import Any

import numpy as np
from torch import nn

from widthwise.graph.axes import Units
from widthwise.graph.dry_run.rehearsal import run_through
from widthwise.graph.recording.ledger import Call
from widthwise.graph.recording.passes import Pass
from widthwise.graph.recording.values import Values
from widthwise.network.copying import copy_module, walk
from widthwise.network.narrowing import is_known_layer
from widthwise.rules import Ids, UnitNumbers


def sizes_of_parts(
    each: Pass,
    calls: Sequence[Call],
    results: Sequence[tuple[int, ...]],
    units: Units,
    values: Values,
) -> dict[tuple[str, str], tuple[UnitNumbers | int, ...]]:
    """Return the attributes that hold the size of the parts into which their module splits a dim.

    Only those that some method reads and this pass does not: what it reads, the dry run has tried.

    Args:
        each: The pass of evaluation; its network is not changed.
        calls: Its calls.
        results: The shapes of what it returns.
        units: Units and axes.
        values: Runs the operators.

    Returns:
        The units that each follows, by module path and attribute.
    """
    parts = _parts(calls)
    found: dict[tuple[str, str], tuple[UnitNumbers | int, ...]] = {}
    for path, module in walk(each.twin):
        if path not in parts or is_known_layer(module):
            continue
        for name, value in vars(module).items():
            ids = parts[path].get(value) if type(value) is int else None
            if ids is not None and (path, name) not in units.resized and _is_read(module, name):
                found[path, name] = (units.of_id[ids],)
    if found:
        for key in _reads(each, found, results, values):
            del found[key]
    return found


def _parts(calls: Sequence[Call]) -> dict[str, dict[int, Ids]]:
    """Return the first of equal parts into which modules split dims, by path and size."""
    found: dict[str, dict[int, Ids]] = {}
    ambiguous: set[tuple[str, int]] = set()
    for call in calls:
        if "split" not in call.name or len(call.outputs) < 2:
            continue
        for dim, ids in enumerate(call.outputs[0]):
            sizes = {shape[dim] for shape in call.shapes}
            if ids is None or len(sizes) > 1:
                continue
            whole = call.inputs[0][dim]
            if whole is None or len(whole) == len(ids):
                continue
            known = found.setdefault(call.path, {}).setdefault(len(ids), ids)
            if not np.array_equal(known, ids):
                ambiguous.add((call.path, len(ids)))
    for path, size in ambiguous:
        del found[path][size]
    return found


def _is_read(module: nn.Module, name: str) -> bool:
    """Tell whether some method of a class, besides its constructor, names an attribute."""
    return any(
        name in member.__code__.co_names
        for kind in type(module).__mro__
        if not kind.__module__.startswith("torch.")
        for key, member in vars(kind).items()
        if isinstance(member, FunctionType) and key != "__init__"
    )


def _reads(
    each: Pass,
    watched: Collection[tuple[str, str]],
    results: Sequence[tuple[int, ...]],
    values: Values,
) -> set[tuple[str, str]]:
    """Run a pass, and return which of some attributes it reads; all if it breaks down."""
    twin = copy_module(each.ready(), lambda _, tensor: tensor)
    read: set[tuple[str, str]] = set()
    for path, module in walk(twin):
        if names := {name for of, name in watched if of == path}:
            _watch(module, path, names, read)
    broken = run_through(twin, each.inputs, results, values)
    return read if broken is None else set(watched)


def _watch(module: nn.Module, path: str, names: set[str], read: set[tuple[str, str]]) -> None:
    """Have a module note which of some attributes are read."""
    kind = type(module)

    def note(self: nn.Module, name: str) -> Any:
        if name in names:
            read.add((path, name))
        return object.__getattribute__(self, name)

    module.__class__ = type(kind.__name__, (kind,), {"__getattribute__": note})
