"""Tables of docs/restoration.md out of results/image_restoration_*.json, for `summary.py`."""

from __future__ import annotations

import json
import statistics
from pathlib import Path

HERE = Path(__file__).parent
PUBLISHED = {
    "denoising": {
        "DHP 60 %": {"BSD68": -0.02},
        "DHP 40 %": {"BSD68": -0.04},
        "DHP 20 %": {"BSD68": -0.09},
    },
    "super-resolution": {
        "DHP 60 %": {"Set5": -0.11, "Set14": -0.03, "B100": -0.02},
        "DHP 40 %": {"Set5": -0.09, "Set14": -0.06, "B100": -0.03},
        "DHP 20 %": {"Set5": -0.16, "Set14": -0.13, "B100": -0.08},
        "LW-DNA 60 %": {"Set5": 0.03, "Set14": 0.06, "B100": 0.04},
    },
}
"""PSNR minus that of the full network: DHP, Tables 2 (EDSR, 8 blocks of 128 features) and 3;
LW-DNA, Table 3, at 61 % of the MACs."""


def table(task: str) -> str:
    """Return what the networks of one task reach, and how far that is from the full one."""
    file = HERE / "results" / f"image_restoration_{task.replace('-', '_')}.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    results, where = content["results"], content["environment"]
    sets = list(results["given"])
    lines = [
        f"| network | MACs | {' | '.join(sets)} | minus full | published |",
        f"|---|--:|{'--:|' * len(sets)}--:|--:|",
    ]
    given = " | ".join(f"{results['given'][name]['psnr']:.2f}" for name in sets)
    lines.append(f"| (what it is given) | | {given} | | |")
    full = results["networks"]["full"]
    for name, rows in results["networks"].items():
        macs = statistics.fmean(row["macs"] for row in rows) / full[0]["macs"]
        reached = " | ".join(_spread([row[each]["psnr"] for row in rows]) for each in sets)
        minus = [
            statistics.fmean(
                row[each]["psnr"] - other[each]["psnr"]
                for row, other in zip(rows, full, strict=True)
            )
            for each in sets
        ]
        theirs = PUBLISHED[task].get(name, {})
        published = ", ".join(f"{theirs[each]:+.2f}" for each in sets if each in theirs)
        ours = "" if name == "full" else ", ".join(f"{value:+.2f}" for value in minus)
        lines.append(f"| {name} | {macs:.0%} | {reached} | {ours} | {published} |")
    seeds = ", ".join(str(row["seed"]) for row in full)
    lines += [
        "",
        f"PSNR in dB, mean and standard deviation over seeds {seeds}, of the last of "
        f"{full[0]['epochs']} epochs, those of a search included. Minus full: the mean difference "
        f"on {', '.join(sets)}, in this order; published: the same, where the papers have it"
        f"{' (BSD68 only)' if task == 'denoising' else ''} "
        f"({where['processor']}, torch {where['torch']}).",
    ]
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ± {statistics.stdev(values):.2f}" if len(values) > 1 else mean
