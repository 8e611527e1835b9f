"""Plans in words: a table of widths, and how two plans differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from widthwise.cost import COUNTED
from widthwise.rewrites import Rewrite

if TYPE_CHECKING:
    from widthwise.plans.plan import Plan

_STALE_SHOWN = 8
"""Most names in a printout; the file has all."""


def difference(plan: Plan, other: Plan) -> str:
    """Describe how another plan differs from one: rewrites, then an axis per line.

    Args:
        plan: The one.
        other: The other.

    Returns:
        Lines of text.
    """
    lines = []
    if plan.before != other.before:
        lines.append(f"before: {_listed(plan.before)} -> {_listed(other.before)}")
    for name in dict.fromkeys([*plan.axes, *other.axes]):
        mine, theirs = plan.axes.get(name), other.axes.get(name)
        if mine is None or theirs is None:
            lines.append(f"{name}: only in the {'second' if mine is None else 'first'} plan")
        elif mine.kept != theirs.kept:
            both = len(set(mine.kept) & set(theirs.kept))
            lines.append(
                f"{name}: {len(mine.kept)} -> {len(theirs.kept)} of {mine.width}, {both} in both"
            )
    return "\n".join(lines) or "no difference"


def table(plan: Plan) -> str:
    """Describe a plan: a bar per axis, and what it costs.

    Args:
        plan: The plan.

    Returns:
        Lines of text.
    """
    name_width = max([len(name) for name in plan.axes] + [4])
    lines = [f"{plan.model_name}, by {plan.method}"]
    if plan.before:
        lines.append(f"  before: {_listed(plan.before)}")
    for name, axis in plan.axes.items():
        share = len(axis.kept) / axis.width
        bar = "█" * round(20 * share)
        lines.append(
            f"  {name:<{name_width}}  {axis.width:>5} -> {len(axis.kept):>5}  {share:>4.0%}  {bar}"
        )
    for key, kind in COUNTED.items():
        # A file of an older version counts fewer quantities.
        if key in plan.full_cost and key in plan.cost:
            before, after = plan.full_cost[key], plan.cost[key]
            part = f"{after / max(before, 1):.1%}"
            lines.append(f"  {before:,} -> {after:,} {kind.title} ({part})")
    if plan.latency:
        lines.append(f"  {timing(plan.latency)}")
    if plan.stale:
        listed = ", ".join(plan.stale[:_STALE_SHOWN])
        more = len(plan.stale) - _STALE_SHOWN
        lines.append(
            f"  may still tell of old widths: {listed}" + (f" and {more} more" if more > 0 else "")
        )
    return "\n".join(lines)


def timing(latency: Mapping[str, Any]) -> str:
    """Say in one line what a plan takes, and whether that is as asked.

    Args:
        latency: `Plan.latency`.

    Returns:
        A line of text.
    """
    full, found, bound = latency["full"], latency["measured"], latency["bound"]
    said = f"{full:.3g} -> {found:.3g} ms measured ({found / full:.1%})"
    said += f", {latency['predicted']:.3g} predicted, {bound:.3g} asked for"
    threads = latency["threads"]
    said += (
        f"; {latency['engine']}, batch {latency['batch']}, "
        f"{threads} thread{'s' if threads > 1 else ''}"
    )
    if found > full:
        return f"{said}: slower than the full network"
    return f"{said}: above what was asked for" if found > bound else said


def _listed(before: Sequence[Rewrite]) -> str:
    words = []
    for each in before:
        values = ", ".join(f"{key}={value!r}" for key, value in each.to_spec().items())
        words.append(f"{each.name}({values})")
    return ", ".join(words) or "nothing"
