"""The pre-flight report of a channel graph, as text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from widthwise.graph.axes import Axis
    from widthwise.graph.graph import ChannelGraph


class Quantity(Protocol):
    """What a plan costs, of some kind; budgets are such."""

    name: ClassVar[str]
    """Its key, such as ``latency``."""
    title: ClassVar[str]
    """What people call it, such as ``milliseconds``."""

    def cost(self, graph: ChannelGraph, kept: np.ndarray) -> float:
        """Return what the plan that keeps these units costs; ``kept`` is bool, ``[units]``."""
        ...


def report(graph: ChannelGraph, *, costs: Sequence[Quantity] = (), width: int = 120) -> str:
    """Return the report: a row per axis, then totals and the smallest reachable cost.

    Args:
        graph: The graph.
        costs: What to count beside MACs.
        width: Columns of text.

    Returns:
        Plain text.
    """
    table = Table(title=f"{graph.model_name} ({graph.inputs.describe()})", title_justify="left")
    table.add_column("axis", overflow="fold")
    table.add_column("width", justify="right")
    table.add_column("unit", justify="right")
    table.add_column("tied", overflow="fold")
    table.add_column("MACs", justify="right")
    for cost in costs:
        table.add_column(cost.name, justify="right")
    table.add_column("free or frozen", overflow="fold")
    counts: list[Callable[[np.ndarray], float]] = [graph.macs]
    counts += [_count(cost, graph) for cost in costs]
    totals = [count(graph.everything) for count in counts]
    for axis in graph.axes.values():
        table.add_row(
            axis.name,
            str(axis.width),
            str(axis.unit_size),
            _tied(axis),
            *(
                f"{_share(graph, axis, count, total):.1%}"
                for count, total in zip(counts, totals, strict=True)
            ),
            axis.frozen or _freedom(axis),
        )
    total, smallest = graph.macs(), graph.macs(graph.smallest())
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    console.print(
        f"{total:,} MACs and {graph.params():,} parameters for one input; "
        f"{sum(axis.frozen is None for axis in graph.axes.values())} of {len(graph.axes)} axes "
        f"are free.\n"
        f"The narrowest plan ({_least(graph)}) costs {smallest:,} MACs "
        f"({smallest / max(total, 1):.1%})."
    )
    for cost, count, most in zip(costs, counts[1:], totals[1:], strict=True):
        least = count(graph.smallest())
        part = f" ({least / most:.1%})" if most else ""
        console.print(
            f"In {cost.title}: {number(most)} for the full network, {number(least)}{part} for "
            "the narrowest plan."
        )
    for note in graph.notes:
        console.print(f"Note: {note}.")
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue().rstrip()


def _freedom(axis: Axis) -> str:
    if axis.width == 1:
        return "one unit, which has to stay"
    return f"free, at least {axis.floor}" if axis.floor > 1 else "free"


def _least(graph: ChannelGraph) -> str:
    """Say how many units the narrowest plan keeps."""
    floors = sum(axis.floor > 1 for axis in graph.axes.values())
    return "one unit per free axis" + (f", more on {floors} that need them" if floors else "")


def _count(cost: Quantity, graph: ChannelGraph) -> Callable[[np.ndarray], float]:
    return lambda kept: cost.cost(graph, kept)


def number(amount: float) -> str:
    """Write an amount in full from a thousand on, and else to three digits.

    Args:
        amount: Of any quantity.

    Returns:
        Plain text.
    """
    return f"{amount:,.0f}" if amount >= 1_000 else f"{amount:.3g}"


def _share(
    graph: ChannelGraph, axis: Axis, count: Callable[[np.ndarray], float], total: float
) -> float:
    """Return the share of a cost that scales with an axis."""
    without = graph.everything.copy()
    without[axis.units] = False
    return 1 - count(without) / total if total else 0.0


def _tied(axis: Axis) -> str:
    """Name the layers an axis goes through, besides the one it is named after."""
    layers = dict.fromkeys(name.rpartition(".")[0] or name for name, _ in axis.members)
    others = [layer for layer in layers if layer != axis.name]
    if len(others) <= 3:
        return ", ".join(others)
    return f"{', '.join(others[:2])} and {len(others) - 2} more"
