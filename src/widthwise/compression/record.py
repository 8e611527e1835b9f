"""What a compression did and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from widthwise.healing import HealReport
from widthwise.plans import Plan


@dataclass(frozen=True)
class Curve:
    """What narrowing one axis alone costs, after healing.

    Attributes:
        widths: Widths that were measured, widest first; the first is the full one.
        damage: What was measured there; zero at the full width.
    """

    widths: tuple[int, ...]
    damage: tuple[float, ...]


@dataclass(frozen=True)
class Trial:
    """One whole plan, measured on inputs that it was not healed on.

    Attributes:
        name: How its widths and units were decided.
        plan: The plan.
        damage: How far the healed network is from the full one: the distance of their outputs, or
            what the user's measure lost.
        distance: The distance of their outputs, see `widthwise.search.distance`.
        agreement: Share of the inputs that both answer alike, where outputs are scores of classes.
        measure: What the user's function returned; None without one.
    """

    name: str
    plan: Plan
    damage: float
    distance: float
    agreement: float | None
    measure: float | None = None


@dataclass(frozen=True)
class Compression:
    """A compressed network and how it was found. Prints itself.

    Attributes:
        network: The narrow network, healed and refined.
        plan: How it was cut.
        curves: What narrowing each axis alone costs, by name.
        trials: Whole plans that were compared, best first.
        healed: What healing did, layer by layer.
        inputs: How many inputs there were; of large ones, the result is healed on a part.
        compared: On how many of them, held out, plans were compared.
        measure: What the user's function returned for the full network; None without one.
        seconds: How long it took, by step.
    """

    network: nn.Module
    plan: Plan
    curves: Mapping[str, Curve]
    trials: tuple[Trial, ...]
    healed: HealReport
    inputs: int
    compared: int
    measure: float | None
    seconds: Mapping[str, float]

    def __str__(self) -> str:
        """The plans that were compared, and what the chosen one costs."""
        lines = [
            f"{self.plan.macs() / max(self.plan.full_macs, 1):.1%} of the MACs, "
            f"{self.plan.params() / max(self.plan.full_params, 1):.1%} of the parameters; "
            f"{sum(self.seconds.values()):.0f} s",
            f"plans, healed, on {self.compared:,} inputs that were held out:",
        ]
        for trial in self.trials:
            shown = f"  {trial.name:<24} damage {trial.damage:8.4f}"
            if trial.agreement is not None:
                shown += f"  agreement {trial.agreement:6.1%}"
            if trial.measure is not None:
                shown += f"  measure {trial.measure:.4g}"
            lines.append(shown)
        return "\n".join(lines)
