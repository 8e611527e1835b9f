"""What `widths_matter.py` has measured, as a table and as a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Difference:
    """Of the means of two arms over seeds, with Welch's 95 % interval."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def unseen(self) -> float:
        """A smaller difference could not have been told from luck."""
        return (self.high - self.low) / 2


def _rows() -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    content = json.loads((RESULTS / "widths_matter.json").read_text(encoding="utf-8"))
    arms: dict[str, list[dict[str, Any]]] = {}
    for row in sorted(content["results"]["rows"], key=lambda row: row["seed"]):
        arms.setdefault(row["arm"], []).append(row)
    return arms, content["environment"]


def _minus_uniform(arms: dict[str, list[dict[str, Any]]], arm: str) -> Difference:
    own, base = ([row["test"] for row in arms[each]] for each in (arm, "uniform"))
    low, high = stats.ttest_ind(own, base, equal_var=False).confidence_interval(0.95)
    return Difference(
        sum(own) / len(own) - sum(base) / len(base), low, high, min(map(len, (own, base)))
    )


def table() -> str:
    """Return a row for each kind of widths, and what could not have been seen."""
    arms, where = _rows()
    lines = [
        "| widths | test accuracy, by seed | mean | minus uniform (95 %) | MACs |",
        "|---|---|--:|--:|--:|",
    ]
    unseen = []
    for arm, rows in arms.items():
        share = sum(row["macs"] for row in rows) / len(rows)
        each = ", ".join(f"{row['test']:.2f}" for row in rows)
        mean = sum(row["test"] for row in rows) / len(rows)
        apart = ""
        if arm != "uniform" and len(rows) > 1:
            found = _minus_uniform(arms, arm)
            apart = f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
            unseen.append(found.unseen)
        lines.append(f"| {arm} | {each} | {mean:.1f} | {apart} | {share:.0%} |")
    epochs = ", ".join(sorted({str(row["epochs"]) for rows in arms.values() for row in rows}))
    lines += [
        "",
        f"ResNet-20 on CIFAR-10, fresh weights, {epochs} epochs, all test images, last epoch "
        f"({where['processor']}, torch {where['torch']}). Welch's interval; a difference of less "
        f"than {max(unseen):.1f} points could not have been told from luck.",
    ]
    return "\n".join(lines)


def sentence() -> str:
    """Say what widths by measured damage are worth."""
    found = _minus_uniform(_rows()[0], "measured")
    return (
        "The widths that it finds are worth something by themselves: a ResNet-20 at half the MACs, "
        f"trained from fresh weights, ends {found.mean:.1f} points above uniform widths (95 %: "
        f"{found.low:.1f} to {found.high:.1f}, {found.seeds} seeds)."
    )
