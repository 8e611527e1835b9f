"""Write docs/reach.md from what `reach.py` measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import elsewhere
import hugging_face
from harness import RESULTS
from reach import SECONDS

Row = dict[str, Any]
Rows = dict[str, Row]

PAGE = Path(__file__).parent.parent / "docs" / "reach.md"
PEERS = {"torch_pruning": "Torch-Pruning", "fastnas": "FastNAS"}
SMALLER = 0.95
"""A network counts as smaller when it keeps at most this share of its parameters."""
AT_MOST = {False: 0.40, True: 0.50}
"""Share of the parameters that half of every axis is to leave, by whether there is attention."""

INTRODUCTION = """# Reach

Does it work on your network? {count} networks were tried: of every model file of timm the smallest
and a middle variant of up to 100 M parameters, all of torchvision (classification, segmentation,
detection, video, optical flow), and six written for this page that are hard in other ways. Each was
traced, cut to half its MACs by L1 magnitude, and to half of every axis; both cuts were proven: the
narrow network computes what the full one does with those channels masked.
"""
METHOD = """
## How it was made

`python benchmarks/reach.py widthwise` on one core ({processor}), torch {torch}, torchvision
{torchvision}, timm {timm}, random weights, the input size of each network's own configuration. A
process per network, with at most 60 seconds of one core and 10 GiB per cut, for every tool alike;
what took more was tried again with two minutes (`--seconds 120`).
`reach.py trace` measured seconds and memory of the trace, `reach.py torch_pruning` and
`reach.py fastnas` the peers.

- *half*: the share of the parameters that is left when half of every free axis goes.
- *smallest*: the least MACs that any plan can reach.
- *frozen*: the share of all units that no plan may touch; the network's outputs are among them. The
  reasons are in `benchmarks/results/reach_widthwise.json`.
- *proof*: the largest relative difference of any layer's outputs after the first cut.
- *Torch-Pruning* {torch-pruning}: `BasePruner` with its defaults, magnitude importance and half of
  the channels; the layers whose result the network returns are ignored. The share of the parameters
  that is left if the pruned network runs; whether it computes the right thing was not checked.
- *FastNAS* of ModelOpt {nvidia-modelopt}: converted, the smallest network that it offers, exported
  and run. So its column is no half: it says how far this tool can go.
- A word in a peer's column says how it failed.
"""


HEADER = "| network | trace s | axes | frozen | smallest | half | proof |"
ELSEWHERE = """## Elsewhere

The rules were written against the list below. These {count} networks of other libraries
({versions}) were not on it. On the first try, {first} ended smaller and proven
(`reach_widthwise_elsewhere_first.json`). What stopped the others (attention of YOLOv10 and YOLO11,
a weight norm over taps), and what left two with more than they need (UNETR, DPT), was then mended
for every network: {good} of {count} now, with errors up to {largest:.0e}.
`python benchmarks/reach.py widthwise --elsewhere` measured them as above, but beside other work.
Encoder layers that a decoder does not use (PSPNet) stay as they are.
"""


HUGGING_FACE = """## Hugging Face

{count} networks of {versions}, in small sizes, none of which a rule was written for: text, vision,
detection, audio, video, several inputs, diffusion. On the first try, {first} ended smaller and
proven (`reach_widthwise_hugging_face_first.json`). The others had two causes: PyTorch detaches a
new tensor in one run and not in another (three of DETR's family), and a decorator keeps what it
computed (MaskFormer). Both were mended for every network: {good} of {count} now, with errors up to
{largest:.0e}. `python benchmarks/reach.py widthwise --hugging_face` measured them beside other
work.
"""


def rows_of(tool: str) -> Rows:
    """Return the measurements of a tool by network."""
    return {row["name"]: row for row in _load(tool)["rows"]}


def _load(tool: str) -> dict[str, Any]:
    return json.loads((RESULTS / f"reach_{tool}.json").read_text())  # type: ignore[no-any-return]


def page() -> str:
    """Compose the page."""
    ours, alone = rows_of("widthwise"), rows_of("trace")
    slow = [_name(row) for row in ours.values() if row["process_s"] > SECONDS]
    for name, row in alone.items():
        if name in ours:
            ours[name] |= row
    peers = {tool: rows_of(tool) for tool in PEERS}
    where = {}
    for tool in ("widthwise", *PEERS):
        where = _load(tool)["environment"] | where
    good = [row for row in ours.values() if "failure" not in row]
    return "\n".join(
        [
            INTRODUCTION.format(count=len(ours)),
            "| | |",
            "|---|--:|",
            *_summary(ours, good, slow),
            *(line for tool, rows in peers.items() for line in _peer(tool, rows, ours)),
            "",
            *_misses(good),
            METHOD.format(**where),
            *_elsewhere(),
            *_hugging_face(),
            "## Every network",
            "",
            HEADER + "".join(f" {PEERS[tool]} |" for tool in peers),
            "|---|--:|--:|--:|--:|--:|--:|" + "--:|" * len(peers),
            *(_line(ours[name], peers) for name in sorted(ours)),
            "",
        ]
    )


def _summary(ours: Rows, good: list[Row], slow: list[str]) -> list[str]:
    seconds = [row["trace_s"] for row in good]
    errors = [max(row["proof_error"], row["half_proof_error"]) for row in good]
    doubles = [_name(row) for row in good if row["proof_dtype"] != "float32"]
    lines = [
        f"| networks that end smaller, and proven | {len(good)} of {len(ours)} |",
        *_share(good, attention=False),
        *_share(good, attention=True),
        f"| trace, median | {statistics.median(seconds):.2f} s |",
        _most("trace, slowest", good, lambda row: row["trace_s"], "{:.1f} s"),
        _most("memory of a trace, largest", good, lambda row: row["trace_mib"], "{:.0f} MiB"),
        f"| largest proof error | {max(errors):.0e} |",
    ]
    if slow:
        lines.append(f"| more than a minute for both cuts: {', '.join(slow)} | {len(slow)} |")
    if doubles:
        lines.append(f"| compared in float64: {', '.join(doubles)} | {len(doubles)} |")
    return lines


def _share(rows: list[Row], *, attention: bool) -> Iterator[str]:
    chosen = [row for row in rows if row["attention"] is attention]
    within = sum(row["half_params"] <= AT_MOST[attention] for row in chosen)
    possible = sum(row["half_at_best"] <= AT_MOST[attention] for row in chosen)
    kind = "networks with attention" if attention else "networks without attention"
    yield (
        f"| {kind} that keep at most {AT_MOST[attention]:.0%} of their parameters with half of "
        f"every axis | {within} of {len(chosen)} |"
    )
    yield f"| of those where halving could leave so little at all | {within} of {possible} |"


def _most(what: str, rows: list[Row], value: Callable[[Row], float], form: str) -> str:
    row = max(rows, key=value)
    return f"| {what} ({_name(row)}) | {form.format(value(row))} |"


def _peer(tool: str, rows: Rows, ours: Rows) -> Iterator[str]:
    smaller = [row for row in rows.values() if is_smaller(row)]
    within = sum(row["half_params"] <= AT_MOST[ours[row["name"]]["attention"]] for row in smaller)
    yield f"| {PEERS[tool]} ends in a smaller network that runs | {len(smaller)} of {len(rows)} |"
    yield f"| and keeps at most as many parameters as is asked of ours above | {within} |"


def _elsewhere() -> Iterator[str]:
    """Yield the section on networks of other libraries."""
    content = _load("widthwise_elsewhere")
    rows: list[Row] = content["rows"]
    good = [row for row in rows if "failure" not in row]
    versions = ", ".join(f"{name} {content['environment'][name]}" for name in elsewhere.PACKAGES)
    largest = max(max(row["proof_error"], row["half_proof_error"]) for row in good)
    first = _smaller_at_first("widthwise_elsewhere_first")
    yield ELSEWHERE.format(
        count=len(rows), first=first, good=len(good), versions=versions, largest=largest
    )
    yield HEADER
    yield "|---|--:|--:|--:|--:|--:|--:|"
    yield from (_line(row, {}) for row in rows)
    yield ""


def _smaller_at_first(tool: str) -> int:
    """Count the networks that were cut before anything was changed for one of them."""
    return sum("failure" not in row for row in _load(tool)["rows"])


def _hugging_face() -> Iterator[str]:
    """Yield the section on networks of transformers and diffusers."""
    content = _load("widthwise_hugging_face")
    rows: list[Row] = content["rows"]
    good = [row for row in rows if "failure" not in row]
    versions = " and ".join(
        f"{name} {content['environment'][name]}" for name in hugging_face.PACKAGES
    )
    largest = max(max(row["proof_error"], row["half_proof_error"]) for row in good)
    first = _smaller_at_first("widthwise_hugging_face_first")
    yield HUGGING_FACE.format(
        count=len(rows), first=first, good=len(good), versions=versions, largest=largest
    )
    yield HEADER
    yield "|---|--:|--:|--:|--:|--:|--:|"
    yield from (_line(row, {}) for row in rows)
    yield ""


def _misses(good: Iterable[Row]) -> list[str]:
    """Say which networks keep more, and what the least is that any halving could leave."""
    found = [row for row in good if row["half_params"] > AT_MOST[row["attention"]]]
    if not found:
        return []
    return [
        "Networks that keep more, beside what would be left if every dimension but the image's and",
        "the output's could be halved on its own (a large classifier is half of a small network):",
        "",
        "| network | half | at best |",
        "|---|--:|--:|",
        *(
            f"| {row['name']} | {row['half_params']:.1%} | {row['half_at_best']:.1%} |"
            for row in sorted(found, key=lambda row: -row["half_params"])
        ),
    ]


def _name(row: Row) -> str:
    return str(row["name"]).partition("/")[2]


def is_smaller(row: Row) -> bool:
    """Tell whether a tool ended in a smaller network that runs."""
    return "failure" not in row and row["half_params"] <= SMALLER


def _line(row: Row, peers: dict[str, Rows]) -> str:
    if "failure" in row:
        cells = f"| {row['name']} | {row['failure']} | | | | | |"
    else:
        cells = (
            f"| {row['name']} | {row['trace_s']:.2f} | {row['axes']} | {row['frozen_share']:.0%} | "
            f"{row['smallest_macs']:.1%} | {row['half_params']:.0%} | {row['proof_error']:.0e} |"
        )
    for rows in peers.values():
        other = rows[row["name"]]
        said = other.get("failure") or f"{other['half_params']:.0%}"
        cells += f" {said.partition(':')[0]} |"
    return cells


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
