"""The multiples of channels that widths have by default."""

from __future__ import annotations

import math

_MULTIPLES = (16, 8)
_CHOICE = 4
"""Widths that an axis can still have."""


def usual_step(width: int, unit_size: int = 1) -> int:
    """Tell which multiples of its units a narrowed axis has, where nobody asks for others.

    Kernels work on blocks of 16 channels, or of 8, and an incomplete block takes as long as a whole
    one.

    Args:
        width: Its units.
        unit_size: Channels of each.

    Returns:
        Units that are a multiple of 16 channels, or else of 8, if that leaves four widths to choose
        from; 1 otherwise.

    Example:
        >>> [usual_step(width) for width in (256, 64, 48, 32, 24)]
        [16, 16, 8, 8, 1]
        >>> usual_step(12, unit_size=32), usual_step(16, unit_size=30), usual_step(3, unit_size=30)
        (1, 4, 1)
    """
    steps = (multiple // math.gcd(multiple, unit_size) for multiple in _MULTIPLES)
    return next((step for step in steps if step * _CHOICE <= width), 1)
