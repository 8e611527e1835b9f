"""Write the tables of results in README and docs from the files in results/; a test holds both."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import healing_table
import image_restoration_table
import search_step_table
import tracking_table
import widths_table
from reach_page import PEERS, is_smaller, rows_of

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
RESTORATION = HERE.parent / "docs" / "restoration.md"
TRACKING = HERE.parent / "docs" / "tracking.md"
BENCHMARKS = HERE.parent / "docs" / "benchmarks.md"
LATENCY = HERE.parent / "docs" / "latency.md"
MILLISECONDS = "<!-- made by benchmarks/summary.py from latency -->"
SECONDS = "<!-- made by benchmarks/summary.py from cut_speed -->"
STEPS = "<!-- made by benchmarks/summary.py from search_step -->"
WIDTHS = "<!-- made by benchmarks/summary.py from widths_matter -->"
START, END = "<!-- made by benchmarks/summary.py -->", "<!-- end of the table -->"
HEALING = "<!-- made by benchmarks/summary.py from healing -->"
HEALED = "<!-- made by benchmarks/summary.py from healing, all -->"
AFTER = "<!-- made by benchmarks/summary.py from after_healing -->"
COMPARISONS = ("cifar10_resnet20_compare", "cifar10_resnet20_lw_dna")


def _load(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def table() -> str:
    """Return the table, with the machine and the date under it."""
    core, step, reach = _load("core"), _load("search_step"), rows_of("widthwise")
    rows = [
        (what, f"{core['results'][name]['median_s']:.2f} s")
        for what, name in (
            ("trace of ResNet-50", "trace resnet50"),
            ("trace of DenseNet-121", "trace densenet121"),
            ("plan for ResNet-50 at half the MACs, with its costs", "plan and cost resnet50"),
            (
                "VGG-16 shrunk to half the MACs, without the proof",
                "shrink vgg16 without the proof",
            ),
            ("`import widthwise`, torch not counted", "import beyond torch"),
        )
    ]
    steps = _ratios(step)
    name, (low, high) = max(steps.items(), key=lambda item: item[1])
    rows.append(("DHP search step of CIFAR ResNet-20, in plain steps", _span(*steps["resnet20"])))
    rows.append((f"the same of the worst case known: {_described(step, name)}", _span(low, high)))
    cuda = _load("search_step_cuda")
    name, (low, high) = max(_ratios(cuda).items(), key=lambda item: item[1][1])
    count = len(cuda["results"]["networks"])
    title = (
        f"the same on an {cuda['results']['device']}, worst of {count}: {_described(cuda, name)}"
    )
    rows.append((title, _span(low, high)))
    good = [row for row in reach.values() if "failure" not in row]
    halved = sum(row["kept_macs"] <= 0.5 for row in good)
    worst = max(max(row["proof_error"], row["half_proof_error"]) for row in good)
    rows += [
        (
            "networks of timm, torchvision and our own list ([which](docs/reach.md)) that are "
            f"traced, cut and proven; of them {halved} to half the MACs",
            f"{len(good)} of {len(reach)}",
        ),
        ("largest relative error in those proofs", f"{worst:.0e}"),
    ]
    others = rows_of("widthwise_elsewhere").values()
    rows.append(
        (
            "networks of four other libraries ([which](docs/reach.md#elsewhere)), not on that list",
            f"{sum('failure' not in row for row in others)} of {len(others)}",
        )
    )
    faces = rows_of("widthwise_hugging_face").values()
    halved = sum(row.get("kept_macs", 1) <= 0.5 for row in faces)
    rows.append(
        (
            "networks of transformers and diffusers ([which](docs/reach.md#hugging-face)); of them "
            f"{halved} to half the MACs",
            f"{sum('failure' not in row for row in faces)} of {len(faces)}",
        )
    )
    restored = list(rows_of("widthwise_restoration").values())
    halved = sum(row.get("kept_macs", 1) <= 0.5 for row in restored)
    rows.append(
        (
            "networks of `spandrel` (super-resolution, denoising, deblurring) cut and proven; of "
            f"them {halved} to half the MACs, which the ties of the others do not allow",
            f"{sum('failure' not in row for row in restored)} of {len(restored)}",
        )
    )
    fuzz = _load("fuzz")["results"]
    rows.append(
        (
            f"random networks of {fuzz['building blocks']} building blocks, two cuts each: results "
            "that a reference of its own finds wrong, and networks refused",
            f"{fuzz['wrong']} and {fuzz['refused']} of {fuzz['networks']:,}",
        )
    )
    for tool, title in PEERS.items():
        theirs = rows_of(tool)
        count = sum(map(is_smaller, theirs.values()))
        what = f"{title}, the first list: a smaller network that runs"
        rows.append((what, f"{count} of {len(theirs)}"))
    where = core["environment"]
    lines = ["| measured | |", "|---|--:|", *(f"| {what} | {value} |" for what, value in rows)]
    lines += [
        "",
        f"Medians on one core ({where['processor']}, {where['cores']} cores, torch "
        f"{where['torch']}, {where['date'].split()[0]}); spread and versions are in "
        "[benchmarks/results](benchmarks/results).",
    ]
    return "\n".join(lines)


def _ratios(measured: dict[str, Any]) -> dict[str, tuple[float, float]]:
    """Return the least and the largest ratio of search step to plain step, by network."""
    found = {}
    for name, rows in measured["results"]["networks"].items():
        ratios = [row["search / plain"] for row in rows.values() if isinstance(row, dict)]
        found[name] = min(ratios), max(ratios)
    return found


def _described(measured: dict[str, Any], name: str) -> str:
    return str(measured["results"]["networks"][name]["what"])


def _span(low: float, high: float) -> str:
    texts = [f"{value:.3g}" if value >= 10 else f"{value:.2f}" for value in (low, high)]
    return " to ".join(dict.fromkeys(texts))


def compare_table(name: str) -> str:
    """Return the table of a comparison on CIFAR-10, with seeds and the machine under it."""
    group = _load(f"{name}/compare")["groups"][0]
    lines = [
        "| network | test accuracy | found minus it | MACs | parameters |",
        "|---|--:|--:|--:|--:|",
    ]
    for arm in group["arms"].values():
        accuracy, minus = arm["measures"]["accuracy"], (arm["found_minus"] or {}).get("accuracy")
        difference = (
            "" if minus is None else f"{100 * minus['mean']:+.1f} ± {100 * minus['std']:.1f}"
        )
        lines.append(
            f"| {arm['title']} | {100 * accuracy['mean']:.1f} ± {100 * accuracy['std']:.1f} % | "
            f"{difference} | {arm['macs_fraction']:.0%} | {arm['params_fraction']:.0%} |"
        )
    where = group["runs"][0]["environment"]
    epochs = {arm["epochs"] for arm in group["arms"].values()}
    listed = ", ".join(map(str, group["seeds"]))
    lines += [
        "",
        f"Mean and standard deviation over seeds {listed}, accuracy of the last epoch; "
        f"{' or '.join(f'{number:g}' for number in sorted(epochs))} epochs each "
        f"({_machine(where)}, torch {where['packages']['torch']}).",
    ]
    return "\n".join(lines)


def cut_speed_table() -> str:
    """Return the table of seconds from a network to a narrow one, beside Torch-Pruning's."""
    content = _load("cut_speed")
    columns = ("trace", "plan", "cut", "widthwise", "Torch-Pruning")
    lines = [
        "| network | trace | plan | cut | together | Torch-Pruning | of it | proof |",
        f"|---|{'--:|' * 7}",
    ]
    for name, row in content["results"]["seconds"].items():
        cells = " | ".join(f"{row[column]:.2f}" for column in columns)
        proof = row["cut and prove"] - row["cut"]
        lines.append(f"| {name} | {cells} | {row['of Torch-Pruning']:.0%} | {proof:.2f} |")
    where = content["environment"]
    lines += [
        "",
        "Seconds, medians, one thread; in the median "
        f"{content['results']['median ratio']:.0%} of Torch-Pruning's ({where['processor']}, "
        f"torch {where['torch']}).",
    ]
    return "\n".join(lines)


def latency_table() -> str:
    """Return the table of what plans take in milliseconds, with the machine under it."""
    content = _load("latency")
    columns = {
        "macs_half_odd": "odd",
        "macs_half_eights": "multiples of 8",
        "macs_half": "default",
        "macs_half_measured_steps": "measured steps",
        "latency_half": "`Latency(keep=0.5)`",
        "macs_alike": "as many MACs by `Macs`",
    }
    lines = [
        f"| network, engine, batch | prediction off by | {' | '.join(columns.values())} |",
        f"|---|{'--:|' * (len(columns) + 1)}",
    ]
    for row in sorted(content["results"]["rows"], key=lambda row: row["batch"]):
        off = f"{row['predictions']['median_error']:.0%}" if "predictions" in row else ""
        cells = [_left(row.get(column)) for column in columns]
        if isinstance(halved := row.get("latency_half"), dict):
            cells[list(columns).index("latency_half")] += f" ({halved['macs_kept']:.0%})"
        lines.append(
            f"| {row['network']}, {row['engine']}, {row['batch']} | {off} | {' | '.join(cells)} |"
        )
    where = content["environment"]
    lines += [
        "",
        "Median error of the prediction over 20 random plans; then the time of the full network "
        "that is left by the clock, of plans at half the MACs with any widths, with multiples of "
        "8, with those of the default and with steps as measured; of plans for half the time, "
        "with the MACs that they have left in brackets; and of plans for as many MACs without a "
        f"look at the time. One thread ({where['processor']}, torch {where['torch']}).",
    ]
    return "\n".join(lines)


def _left(found: dict[str, Any] | str | None) -> str:
    if found is None:
        return ""
    return "cannot be met" if isinstance(found, str) else f"{found['time_kept']:.0%}"


def _mean(values: list[float]) -> str:
    return f"{sum(values) / len(values):.1f}" if values else ""


def _machine(environment: dict[str, Any]) -> str:
    accelerator = environment["accelerator"]
    return accelerator or environment["processor"]


def _replace(page: Path, tables: dict[str, str]) -> None:
    text = page.read_text(encoding="utf-8")
    for start, lines in tables.items():
        pattern = re.compile(f"{re.escape(start)}.*?{re.escape(END)}", re.DOTALL)
        replacement = f"{start}\n{lines}\n{END}"
        text = pattern.sub(lambda _, new=replacement: new, text)
        print(lines)
    page.write_text(text, encoding="utf-8")


def main() -> None:
    """Replace the tables in the README and in the docs."""
    tables = {START: table(), HEALING: healing_table.short()}
    for name in COMPARISONS:
        tables[f"<!-- made by benchmarks/summary.py from {name} -->"] = compare_table(name)
    _replace(README, tables)
    _replace(
        BENCHMARKS,
        {
            WIDTHS: widths_table.table(),
            STEPS: search_step_table.table(),
            SECONDS: cut_speed_table(),
            HEALED: healing_table.every(),
            AFTER: healing_table.after(),
        },
    )
    _replace(LATENCY, {MILLISECONDS: latency_table()})
    _replace(
        RESTORATION,
        {
            f"<!-- made by benchmarks/summary.py from image_restoration, {task} -->": (
                image_restoration_table.table(task)
            )
            for task in image_restoration_table.PUBLISHED
        },
    )
    _replace(
        TRACKING,
        {
            "<!-- made by benchmarks/summary.py from tracking -->": tracking_table.table(),
            "<!-- made by benchmarks/summary.py from tracking, by clip -->": (
                tracking_table.clips_table()
            ),
        },
    )


if __name__ == "__main__":
    main()
