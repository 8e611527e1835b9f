"""Two cuts, one after the other, as one plan of the full network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from widthwise import errors
from widthwise.plans.axis import AxisPlan


def composed(first: Mapping[str, AxisPlan], second: Mapping[str, AxisPlan]) -> dict[str, AxisPlan]:
    """Return what two plans do to every axis of the network that the first one is for.

    Args:
        first: The axes of a plan for the full network.
        second: Those of a plan for the network that the first one leaves.

    Returns:
        Axes of the full network, with the units that are left after both.

    Raises:
        PlanError: If the second plan is for another network.
    """
    problems = [
        f"`{name}`: {len(axis.kept)} units are left of it, and {there} are in the later plan"
        for name, axis in first.items()
        for there in [second[name].width if name in second else 0]
        if there != len(axis.kept)
    ]
    problems += [f"`{name}`: not in the earlier plan" for name in second if name not in first]
    if problems:
        raise errors.wrong_network(problems)
    return {
        name: replace(axis, kept=tuple(axis.kept[number] for number in second[name].kept))
        for name, axis in first.items()
    }
