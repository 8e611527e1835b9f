"""Write docs/reach.md from what `reach.py` measured."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

from harness import RESULTS

PAGE = Path(__file__).parent.parent / "docs" / "reach.md"
PEERS = {"torch_pruning": "Torch-Pruning", "fastnas": "ModelOpt FastNAS"}
SMALLER = 0.95
"""A network counts as smaller when it keeps at most this share of its parameters."""


def rows_of(tool: str) -> dict[str, dict[str, Any]]:
    """Return the measurements of a tool by network; empty if it was not run."""
    path = RESULTS / f"reach_{tool}.json"
    if not path.exists():
        return {}
    return {row["name"]: row for row in json.loads(path.read_text())["rows"]}


def page() -> str:
    """Compose the page."""
    ours = rows_of("widthwise")
    peers = {tool: rows for tool in PEERS if (rows := rows_of(tool))}
    where = json.loads((RESULTS / "reach_widthwise.json").read_text())["environment"]
    return "\n".join(
        [
            "# Reach",
            "",
            "Every network of the list is traced, cut to half its MACs by L1 magnitude, and to",
            "half of every axis; both cuts are proven. `benchmarks/reach.py` says how the list is",
            "chosen and what the limits are; `reach_page.py` makes this page.",
            "",
            *_summary(ours, peers),
            "",
            f"{where['processor']}, one core, torch {where['torch']}, timm {where['timm']}, "
            f"torchvision {where['torchvision']}, {where['date']}.",
            "",
            "| network | trace s | axes | frozen | smallest MACs | half: parameters | proof error |"
            + "".join(f" {PEERS[tool]} |" for tool in peers),
            "|---|--:|--:|--:|--:|--:|--:|" + "--:|" * len(peers),
            *(_line(row, peers) for row in ours.values()),
            "",
        ]
    )


def _summary(ours: dict[str, Any], peers: dict[str, dict[str, Any]]) -> list[str]:
    good = [row for row in ours.values() if "failure" not in row]
    seconds = [row["trace_s"] for row in good]
    lines = [
        f"- {len(good)} of {len(ours)} networks end smaller and proven.",
        f"- Half of every axis: {_share(good, attention=False, most=0.4)}; "
        f"{_share(good, attention=True, most=0.5)}.",
        f"- Trace: median {statistics.median(seconds):.2f} s, slowest {max(seconds):.1f} s.",
        f"- Largest proof error: {max(row['proof_error'] for row in good):.0e}.",
    ]
    for tool, rows in peers.items():
        count = sum(_smaller(row) for row in rows.values())
        lines.append(f"- {PEERS[tool]} ends in a smaller network on {count} of {len(rows)}.")
    return lines


def _share(rows: list[dict[str, Any]], *, attention: bool, most: float) -> str:
    chosen = [row for row in rows if row["attention"] is attention]
    within = sum(row["half_params"] <= most for row in chosen)
    kind = "networks with attention" if attention else "networks without"
    return f"{within} of {len(chosen)} {kind} keep at most {most:.0%} of their parameters"


def _smaller(row: dict[str, Any]) -> bool:
    return "failure" not in row and row["half_params"] <= SMALLER


def _line(row: dict[str, Any], peers: dict[str, dict[str, Any]]) -> str:
    if "failure" in row:
        cells = f"| {row['name']} | {row['failure']} | | | | | |"
    else:
        cells = (
            f"| {row['name']} | {row['trace_s']:.2f} | {row['axes']} | {row['frozen_share']:.0%} | "
            f"{row['smallest_macs']:.1%} | {row['half_params']:.0%} | {row['proof_error']:.0e} |"
        )
    for rows in peers.values():
        other = rows.get(row["name"])
        said = "" if other is None else other.get("failure") or f"{other['half_params']:.0%}"
        cells += f" {said.partition(':')[0]} |"
    return cells


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(page())


if __name__ == "__main__":
    main()
