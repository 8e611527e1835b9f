"""Repair a network after the cut from a few batches of inputs, without labels and training."""

from widthwise.healing.heal import heal
from widthwise.healing.report import Healed, HealReport

__all__ = ["HealReport", "Healed", "heal"]
