"""Tables of docs/tracking.md out of results/tracking.json; `summary.py` writes them there."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def table() -> str:
    """Return what trackers reach, how fast they are, and what was checked."""
    content = json.loads((HERE / "results" / "tracking.json").read_text(encoding="utf-8"))
    results, where = content["results"], content["environment"]
    lines = [
        "| tracker | MACs of a frame | AUC, rendered | AUC, real | frames/s | in onnxruntime |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    fps = results["frames_per_second"]
    for name, rival in results["rivals"].items():
        lines.append(
            f"| {name} | | {rival['rendered']['auc']:.1f} | {rival['real']['auc']:.1f} | "
            f"{_speed(fps, name)} | |"
        )
    for name, rows in results["networks"].items():
        macs = statistics.fmean(row["macs"] for row in rows) / 1e6
        spread = results["spread"][name]
        lines.append(
            f"| {name} | {macs:.1f} M | {_auc(spread['rendered'])} | {_auc(spread['real'])} | "
            f"{_speed(fps, name)} | {_speed(fps, f'{name}, onnxruntime')} |"
        )
    full = results["spread"]["full"]
    rows = results["networks"]["full"]
    seeds = sorted({row["seed"] for each in results["networks"].values() for row in each})
    lines += [
        "",
        "AUC in percent by the rules of OTB, mean and standard deviation over seeds "
        f"{', '.join(map(str, seeds))}; {results['clips']['rendered']} rendered from photographs "
        f"that nothing was trained on, and the real clips {', '.join(results['clips']['real'])}. "
        f"{rows[0]['epochs']} epochs of 6,000 rendered pairs each, those of a search included. "
        "Frames per second of the whole tracker on one thread, crops included "
        f"({where['processor']}, torch {where['torch']}).",
        "",
        "What has to be checked of a network that has only seen pasted things: without decoys the "
        f"full one has {_auc(full['without decoys'])} (much more would mean that it looks for the "
        "edges of pastes), on backgrounds of one colour "
        f"{_auc(full['plain backgrounds'])} (much less would mean that it looks at surroundings), "
        f"against {_auc(full['rendered'])} as usual.",
    ]
    return "\n".join(lines)


def clips_table() -> str:
    """Return the AUC on every real clip."""
    content = json.loads((HERE / "results" / "tracking.json").read_text(encoding="utf-8"))
    results = content["results"]
    names = results["clips"]["real"]
    lines = [f"| tracker | {' | '.join(names)} |", f"|---|{'--:|' * len(names)}"]
    columns: dict[str, list[dict[str, Any]]] = {
        **{name: [rival] for name, rival in results["rivals"].items()},
        **results["networks"],
    }
    for tracker, rows in columns.items():
        means = [
            statistics.fmean(row["real"]["auc_by_clip"][name] for row in rows) for name in names
        ]
        lines.append(f"| {tracker} | {' | '.join(f'{mean:.1f}' for mean in means)} |")
    return "\n".join(lines)


def _auc(spread: dict[str, Any]) -> str:
    deviation = spread["deviation"]
    return f"{spread['mean']:.1f}" + ("" if deviation is None else f" ± {deviation:.1f}")


def _speed(fps: dict[str, Any], name: str) -> str:
    # What does not look at a frame has no speed worth telling.
    if name == "box that never moves":
        return ""
    return f"{fps[name]['median']:.0f}" if name in fps else ""
