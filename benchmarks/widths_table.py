"""What `widths_matter.py` has measured, as a table and as a sentence."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scipy import stats

RESULTS = Path(__file__).parent / "results"
NAMES = {"resnet20": "ResNet-20", "speed_record": "the record's network"}

Arms = dict[str, list[dict[str, Any]]]


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


def _networks() -> tuple[dict[str, Arms], dict[str, Any]]:
    """Return the rows of each network by arm, and the machine."""
    content = json.loads((RESULTS / "widths_matter.json").read_text(encoding="utf-8"))
    networks: dict[str, Arms] = {}
    for row in sorted(content["results"]["rows"], key=lambda row: row["seed"]):
        networks.setdefault(row["network"], {}).setdefault(row["arm"], []).append(row)
    return networks, content["environment"]


def _minus_uniform(arms: Arms, arm: str) -> Difference:
    own, base = ([row["test"] for row in arms[each]] for each in (arm, "uniform"))
    low, high = stats.ttest_ind(own, base, equal_var=False).confidence_interval(0.95)
    return Difference(
        sum(own) / len(own) - sum(base) / len(base), low, high, min(map(len, (own, base)))
    )


def table() -> str:
    """Return a table for each network, and what could not have been seen."""
    networks, where = _networks()
    lines = []
    for name, arms in networks.items():
        lines += [*_table(NAMES[name], arms), ""]
    lines.append(
        "CIFAR-10, fresh weights, all test images, last epoch "
        f"({where['processor']}, torch {where['torch']}). Welch's intervals."
    )
    return "\n".join(lines)


def _table(title: str, arms: Arms) -> list[str]:
    """Return a row for each kind of widths of a network."""
    epochs = ", ".join(sorted({str(row["epochs"]) for rows in arms.values() for row in rows}))
    lines = [
        f"| {title}, {epochs} epochs | test accuracy, by seed | mean | "
        "minus uniform (95 %) | MACs |",
        "|---|---|--:|--:|--:|",
    ]
    unseen = []
    for arm, rows in arms.items():
        share = sum(row["macs"] for row in rows) / len(rows)
        each = ", ".join(f"{row['test']:.2f}" for row in rows)
        mean = sum(row["test"] for row in rows) / len(rows)
        apart = ""
        if arm != "uniform" and min(len(rows), len(arms["uniform"])) > 1:
            found = _minus_uniform(arms, arm)
            apart = f"{found.mean:+.2f} ({found.low:+.2f} to {found.high:+.2f})"
            unseen.append(found.unseen)
        lines.append(f"| {arm} | {each} | {mean:.1f} | {apart} | {share:.0%} |")
    if unseen:
        lines += [
            "",
            f"A difference of less than {max(unseen):.1f} points could not have been told from "
            "luck.",
        ]
    return lines


def sentence() -> str:
    """Say what widths by measured damage are worth."""
    found = _minus_uniform(_networks()[0]["resnet20"], "measured")
    return (
        "The widths that it finds are worth something by themselves: a ResNet-20 at half the MACs, "
        f"trained from fresh weights, ends {found.mean:.1f} points above uniform widths (95 %: "
        f"{found.low:.1f} to {found.high:.1f}, {found.seeds} seeds)."
    )
