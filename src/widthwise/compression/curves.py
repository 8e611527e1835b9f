"""What narrowing an axis costs: measured at a few widths, and between them as a score has it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from widthwise.compression.record import Curve
from widthwise.graph import Axis, ChannelGraph
from widthwise.healing.repairs import NORMS
from widthwise.search.limits import Limits
from widthwise.search.scores.readers import readers_of
from widthwise.search.scores.reconstruction import Removal

_HINT = 0.01
"""Weight of what was estimated beside what was measured."""
SHARES = (0.8, 0.5, 0.25)
"""Of the units, those that are kept where the damage of an axis is measured."""


def widths_measured(axis: Axis, limits: Limits) -> list[int]:
    """Choose the widths at which the damage of an axis is measured, widest first."""
    allowed = np.array(limits.widths(axis)[1:])
    if not len(allowed):
        return []
    chosen = {int(allowed[np.abs(allowed - share * axis.width).argmin()]) for share in SHARES}
    return sorted(chosen, reverse=True)


def reading(graph: ChannelGraph, axis: Axis) -> set[str]:
    """Find the layers that can make up for units of an axis: those that read or normalise them.

    Args:
        graph: The network.
        axis: The axis.

    Returns:
        Their paths.
    """
    inside = range(axis.units.start, axis.units.stop)
    found = {reader.path for reader in readers_of(graph) if np.isin(reader.units, inside).any()}
    for path, module in graph.model.named_modules():
        slots = graph.slots.get(f"{path}.weight", (None,))
        if isinstance(module, NORMS) and slots[0] is not None and np.isin(slots[0], inside).any():
            found.add(path)
    return found


def with_curves(
    estimated: Mapping[str, Removal], curves: Mapping[str, Curve]
) -> dict[str, Removal]:
    """Return removals with the damage that was measured, and a hundredth of what was estimated.

    A measure may not see what narrowing costs, such as an accuracy of a hundred images; then the
    estimate tells.

    Args:
        estimated: By axis.
        curves: Of axes that were measured.

    Returns:
        By axis.
    """
    seen = sum(max(curve.damage) for curve in curves.values())
    total = sum(float(estimated[name].damage[-1]) for name in curves)
    scale = _HINT * (seen / total if seen > 0 and total > 0 else 1.0)
    found = dict(estimated)
    for name, curve in curves.items():
        own = measured(estimated[name], curve)
        found[name] = Removal(own.order, own.damage + scale * estimated[name].damage)
    return found


def measured(removal: Removal, curve: Curve) -> Removal:
    """Return a removal with the damage that was measured.

    Between two widths damage grows as it was estimated, and behind the last as it did up to there.

    Args:
        removal: The order of the units, and an estimate.
        curve: What was measured.

    Returns:
        The same order, with damage through the points of the curve, never falling.
    """
    estimate, width = removal.damage, len(removal.order)
    # Without an estimate, damage is in proportion to the units.
    estimate = estimate + 1e-9 * (estimate[-1] or 1.0) * np.arange(width + 1)
    gone = [width - each for each in curve.widths]
    known = np.maximum.accumulate(curve.damage)
    damage = np.zeros(width + 1)
    for first, last, low, high in zip(gone, gone[1:], known, known[1:], strict=False):
        part = slice(first, last + 1)
        share = (estimate[part] - estimate[first]) / (estimate[last] - estimate[first])
        damage[part] = low + share * (high - low)
    last = gone[-1]
    if last:
        damage[last:] = known[-1] * estimate[last:] / estimate[last]
    return Removal(removal.order, np.maximum.accumulate(damage))
