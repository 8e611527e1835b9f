"""The widths of a narrow checkpoint that somebody else has made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor

from widthwise.errors import PlanError
from widthwise.graph import ChannelGraph

_PREFIXES = ("module.", "_orig_mod.")
"""What wrappers put before the names of a network's tensors."""


@dataclass(frozen=True)
class _Dim:
    """One dim of a tensor: how often each axis stands in it, and what size the axes have there.

    Some channels belong to no axis: colours, and what nothing may remove.
    """

    tensor: str
    dim: int
    per_unit: np.ndarray
    full: int
    size: int
    fixed: int


def mask_of(graph: ChannelGraph, state_dict: Mapping[str, Tensor]) -> np.ndarray:
    """Find widths at which a network has the shapes of a checkpoint.

    Which units the checkpoint has kept cannot be known; the first of each axis are.

    Args:
        graph: The full network.
        state_dict: Of the narrow one.

    Returns:
        Which units stay. Shape ``[units]``, bool.

    Raises:
        PlanError: If no widths give these shapes.
    """
    axes = list(graph.axes.values())
    dims = _dims(graph, state_dict)
    least = np.array([axis.width if axis.frozen else max(axis.floor, 1) for axis in axes])
    most = np.array([axis.width for axis in axes])
    widths = _solved(dims, least, most)
    if widths is None:
        for number in range(1, len(dims) + 1):
            if _solved(dims[:number], least, most) is None:
                raise _no_widths(graph, dims[number - 1])
        raise AssertionError("all dims together had no solution")
    mask = graph.everything.copy()
    for axis, width in zip(axes, widths, strict=True):
        mask[axis.units.start + width : axis.units.stop] = False
    return mask


def _dims(graph: ChannelGraph, state_dict: Mapping[str, Tensor]) -> list[_Dim]:
    found, seen = [], 0
    shapes = {_bare(name): tensor.shape for name, tensor in state_dict.items()}
    shapes |= {name: tensor.shape for name, tensor in state_dict.items()}
    axes = list(graph.axes.values())
    # Channels of no axis, such as colours, have numbers of their own.
    owner = np.full(graph.everything.size, len(axes))
    for number, axis in enumerate(axes):
        owner[axis.units] = number
    widths = np.array([axis.width for axis in axes])
    for name, slots in graph.slots.items():
        shape = shapes.get(name)
        if shape is None:
            continue
        seen += 1
        if len(shape) != len(slots):
            raise PlanError(
                f"`{name}` has {len(shape)} dims in the checkpoint and {len(slots)} in "
                f"`{graph.model_name}`.\nHint: pass the state dict of a narrower network of this "
                "class."
            )
        for dim, units in enumerate(slots):
            if units is None:
                continue
            *counts, fixed = np.bincount(owner[units], minlength=len(axes) + 1)
            found.append(
                _Dim(
                    name, dim, np.array(counts) / widths, len(units), shape[dim] - fixed, int(fixed)
                )
            )
    if not seen:
        raise PlanError(
            f"No tensor of the checkpoint has the name of one of `{graph.model_name}`.\n"
            "Hint: pass the state dict itself, such as `checkpoint['model']`."
        )
    return found


def _bare(name: str) -> str:
    for prefix in _PREFIXES:
        name = name.removeprefix(prefix)
    return name


def _solved(dims: list[_Dim], least: np.ndarray, most: np.ndarray) -> np.ndarray | None:
    """Return a width per axis that gives all dims their sizes; None if there is none."""
    if not dims:
        return most
    rows = np.unique(np.array([[*each.per_unit, each.size] for each in dims]), axis=0)
    # Of several solutions, the widest.
    found = milp(
        -np.ones(len(most)),
        constraints=LinearConstraint(rows[:, :-1], rows[:, -1], rows[:, -1]),
        integrality=np.ones(len(most)),
        bounds=Bounds(least, most),
    )
    return None if found.x is None else np.rint(found.x).astype(int)


def _no_widths(graph: ChannelGraph, dim: _Dim) -> PlanError:
    inside = [
        axis for axis, share in zip(graph.axes.values(), dim.per_unit, strict=True) if share > 0
    ]
    named = ", ".join(f"`{axis.name}`" for axis in inside)
    frozen = next((axis for axis in inside if axis.frozen), None)
    why = (
        f"`{frozen.name}` is frozen: {frozen.frozen}"
        if frozen is not None
        else "other tensors of the checkpoint say otherwise, or the size is out of reach"
    )
    return PlanError(
        f"No widths give the shapes of this checkpoint: dim {dim.dim} of `{dim.tensor}` is "
        f"{dim.size + dim.fixed}, {dim.full} in `{graph.model_name}`, and holds {named}."
        f"\nWhy: {why}.\nHint: trace the network that the checkpoint was cut from."
    )
