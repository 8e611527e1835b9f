"""What `search_step.py` has measured, as a table: steps, and where their time goes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
SETTINGS = {"float32": "float32", "bfloat16 autocast, channels_last": "bfloat16"}
"""Those that are shown -> what they are called."""


def _load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _parts(row: dict[str, Any]) -> str:
    """Say what a search step takes on top of a plain one: generated weights, optimizer, the rest.

    Each as a multiple of the plain step.
    """
    parts = {name: each["median_s"] for name, each in row["parts"].items()}
    whole = row["plain step"]["median_s"]
    more = [
        (parts[f"search: {part}"] - parts[f"plain: {part}"]) / whole
        for part in ("forward and backward", "optimizer")
    ]
    return " + ".join(f"{max(each, 0):.2f}" for each in (*more, parts["search: prox"] / whole))


def table() -> str:
    """Return a row for each network and setting, for DHP and for fade."""
    dhp, fade = _load("search_step"), _load("search_step_fade")
    lines = [
        "| network, batch | numbers | plain step | DHP | of it: weights + optimizer + threshold | "
        "trained numbers | fade |",
        "|---|---|--:|--:|--:|--:|--:|",
    ]
    for name, rows in dhp["results"]["networks"].items():
        for setting, called in SETTINGS.items():
            row, other = rows[setting], fade["results"]["networks"][name][setting]
            numbers = row["trained numbers"]
            lines.append(
                f"| {rows['what']} | {called} | {row['plain step']['median_s']:.2f} s | "
                f"{row['search / plain']:.2f} | {_parts(row)} | "
                f"{numbers['search'] / numbers['plain']:.0f}x | {other['search / plain']:.2f} |"
            )
    where = dhp["environment"]
    lines += [
        "",
        "Medians of whole training steps, plain and searching in turns, in multiples of the plain "
        f"step ({where['processor']}, {where['torch_threads']} threads, torch {where['torch']}).",
    ]
    return "\n".join(lines)
