"""The pre-flight report of a channel graph, as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from widthwise.graph.axes import Axis
    from widthwise.graph.graph import ChannelGraph


def report(graph: ChannelGraph, *, width: int = 120) -> str:
    """Return the report: a row per axis, then totals and the smallest reachable cost.

    Args:
        graph: The graph.
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
    table.add_column("free or frozen", overflow="fold")
    total = graph.macs()
    for axis in graph.axes.values():
        table.add_row(
            axis.name,
            str(axis.width),
            str(axis.unit_size),
            _tied(axis),
            f"{mac_share(graph, axis, total):.1%}",
            axis.frozen or _freedom(axis),
        )
    smallest = graph.macs(graph.smallest())
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(table)
    console.print(
        f"{total:,} MACs and {graph.params():,} parameters for one input; "
        f"{sum(axis.frozen is None for axis in graph.axes.values())} of {len(graph.axes)} axes "
        f"are free.\n"
        f"The narrowest plan ({_least(graph)}) costs {smallest:,} MACs "
        f"({smallest / max(total, 1):.1%})."
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


def mac_share(graph: ChannelGraph, axis: Axis, total: int) -> float:
    """Return the share of the MACs that scale with an axis."""
    without = graph.everything.copy()
    without[axis.units] = False
    return 1 - graph.macs(without) / total if total else 0.0


def _tied(axis: Axis) -> str:
    """Name the layers an axis goes through, besides the one it is named after."""
    layers = dict.fromkeys(name.rpartition(".")[0] or name for name, _ in axis.members)
    others = [layer for layer in layers if layer != axis.name]
    if len(others) <= 3:
        return ", ".join(others)
    return f"{', '.join(others[:2])} and {len(others) - 2} more"
