"""How much is spent on one trial: as much as a network's size leaves within minutes."""

from __future__ import annotations

from dataclasses import dataclass

_HEALED, _COMPARED = 10_000_000_000, 50_000_000_000
"""Multiply-accumulates that the inputs of one trial may cost, to heal on and to compare on."""
_FINAL = 150_000_000_000
"""The same for the inputs that the result is healed on."""
_SMALL = 200_000_000
"""Multiply-accumulates for one input up to which a network counts as small."""


@dataclass(frozen=True)
class Effort:
    """What a trial is made of.

    Attributes:
        healed_on: Inputs that a trial is healed on, at most.
        compared_on: Inputs that it is compared on, at most.
        result_on: Inputs that the result is healed on, at most.
        whole: Whether the trials of one axis heal every layer, not only those that read the axis.
    """

    healed_on: int
    compared_on: int
    result_on: int
    whole: bool

    @classmethod
    def of(cls, macs: int) -> Effort:
        """Decide by the cost of one input.

        Args:
            macs: Multiply-accumulates of the full network.

        Returns:
            At least 64 inputs to heal trials on, 128 to compare on and 256 to heal the result on.
        """
        return cls(
            healed_on=max(64, min(256, _HEALED // max(macs, 1))),
            compared_on=max(128, min(512, _COMPARED // max(macs, 1))),
            result_on=max(256, _FINAL // max(macs, 1)),
            whole=macs <= _SMALL,
        )
