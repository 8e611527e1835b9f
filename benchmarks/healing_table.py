"""The tables of trained networks that were cut and healed, from the files in results/."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import widths_table

RESULTS = Path(__file__).parent / "results"
STEPS = {
    "right after": "right after",
    "batchnorm": "BatchNorm anew",
    "healed": "fits",
    "refined": "refined",
    "1 epochs": "1 epoch",
    "3 epochs": "3 epochs",
}
"""Key of a row -> what it is called, in the order of what is done."""
SHOWN = "resnet20", 0.5
"""What the README has all arms of."""

Rows = list[dict[str, Any]]


def _load(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _cells() -> dict[tuple[str, float], dict[str, Rows]]:
    """Return rows by network and budget, and by arm: ours first."""
    cells: dict[tuple[str, float], dict[str, Rows]] = {}
    rows = _load("healing")["results"]["rows"]
    for row in sorted(rows, key=lambda row: row["widths by"] != "compress"):
        place = row["network"].rpartition("-")[0], row["budget"]
        cells.setdefault(place, {}).setdefault(row["widths by"], []).append(row)
    return dict(sorted(cells.items(), key=lambda item: (item[0][0], -item[0][1])))


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}" if values else ""


def _table(arms: dict[str, Rows]) -> list[str]:
    """Return a table of arms: what each step makes of their cuts."""
    lines = [f"| widths by | {' | '.join(STEPS.values())} |", f"|---|{'--:|' * len(STEPS)}"]
    for arm, rows in arms.items():
        found = []
        for step in STEPS:
            values = [row[step] for row in rows if step in row]
            count = f" ({len(values)})" if 0 < len(values) < len(rows) else ""
            found.append(f"{_mean(values)}{count}")
        networks = f" ({len(rows)})" if len(rows) > 1 else ""
        lines.append(f"| {arm}{networks} | {' | '.join(found)} |")
    return lines


def _full(arms: dict[str, Rows]) -> str:
    """Say what the full networks have."""
    parents = {row["network"]: row["full"] for rows in arms.values() for row in rows}
    return _mean(list(parents.values()))


def _words() -> str:
    """Say what the columns are."""
    content = _load("healing")
    where = content["environment"]
    return (
        "Accuracy in percent on all 10,000 test images of CIFAR-10: right after the cut; with "
        "BatchNorm estimated anew; layers refitted; refined, which is what `compress` returns; "
        "and after epochs of training with labels and the full network as a teacher. Means, and "
        "in brackets over how many networks of other seeds, where there are several; rows over "
        "different networks differ by these too. "
        f"{content['results']['inputs']:,} training images until then, without labels, which "
        "Taylor alone reads. What Torch-Pruning cuts is not healed, and trained on from its second "
        f"column. Last measured on {where['processor']}, torch {where['torch']}."
    )


def _alike(arms: dict[str, Rows]) -> dict[str, Rows]:
    """Return the rows of those networks that every arm has cut: others cannot be compared."""
    shared = set.intersection(*({row["network"] for row in rows} for rows in arms.values()))
    return {arm: [row for row in rows if row["network"] in shared] for arm, rows in arms.items()}


def _ours(rows: Rows) -> str:
    """Say what is left of all networks that `compress` has cut."""
    said = f"{_mean([row['refined'] for row in rows])} of {_full({'': rows})}"
    trained = [row for row in rows if "3 epochs" in row]
    said += f" ({len(rows)}" + (" networks" if len(rows) > 1 else " network")
    if trained:
        said += (
            f"; after three epochs with labels {_mean([row['3 epochs'] for row in trained])} of "
        )
        said += f"{_full({'': trained})}, {len(trained)}"
    return f"{said})"


def short() -> str:
    """Return what the README has: all arms alike at one budget, and ours everywhere."""
    cells = _cells()
    name, keep = SHOWN
    arms = _alike(cells[SHOWN])
    networks = len({row["network"] for rows in arms.values() for row in rows})
    which = "one network" if networks == 1 else f"{networks} networks"
    lines = [f"{name} at {keep:.0%} of the MACs, {which} of {_full(arms)} % when full:", ""]
    lines += _table(arms)
    everywhere = [
        f"{name} at {keep:.0%} {_ours(arms['compress'])}"
        for (name, keep), arms in cells.items()
        if "compress" in arms
    ]
    lines += [
        "",
        _words(),
        "",
        f"What `compress` leaves of all networks, without labels: {'; '.join(everywhere)}. "
        f"{widths_table.sentence()}",
    ]
    return "\n".join([*lines, "", *_pretrained()])


def every() -> str:
    """Return a table for each network and budget."""
    lines = []
    for (name, keep), arms in _cells().items():
        lines += [
            f"**{name}, {keep:.0%} of the MACs** (full network: {_full(arms)} %)",
            "",
            *_table(arms),
            "",
        ]
    return "\n".join([*lines, _words()])


def after() -> str:
    """Return the table of ways to train on."""
    lines = [
        "| three epochs | held-out images | test images | full network, test images |",
        "|---|--:|--:|--:|",
    ]
    content = _load("after_healing")
    rows = content["results"]["rows"]
    fresh = [row for row in rows if row["way"] == "fresh weights"]
    for row in (row for row in rows if row["way"] != "fresh weights"):
        held_out, test = row["trained"]["held_out"], row["trained"]["test"]
        lines.append(f"| {row['way']} | {held_out:.2f} | {test:.2f} | {row['full']['test']:.2f} |")
    where = content["environment"]
    lines += [
        "",
        f"{rows[0]['network'].rpartition('-')[0]} at {rows[0]['budget']:.0%} of the MACs, one "
        f"network ({where['processor']}, torch {where['torch']}).",
    ]
    for row in fresh:
        lines[-1] += (
            f" Fresh weights at the same widths, trained for the {row['epochs']} epochs that the "
            f"full network was: {row['trained']['test']:.2f} %."
        )
    return "\n".join(lines)


def _pretrained() -> list[str]:
    """Return what is left of a network with published weights, in a sentence."""
    content = _load("pretrained")["results"]
    where = ", ".join(f"{count} of {name}" for name, count in content["others by folder"].items())
    return [
        f"EfficientNet-Lite0 with its published ImageNet weights, at {row['budget']:.0%} of the "
        f"MACs, healed with {content['inputs']} crops of photographs: its first answer is that of "
        f"the full network on {row['right after']:.0%} of {content['others']} crops of other "
        f"photographs ({where}) right after the cut, "
        f"{row['batchnorm']:.0%} with BatchNorm estimated anew, {row['healed']:.0%} healed, "
        f"**{row['refined']:.0%}** refined."
        for row in content["rows"]
        if row["widths by"] == "compress"
    ]
