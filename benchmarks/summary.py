"""Write the table of results in the README from the files in results/; a test holds it to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
README = HERE.parent / "README.md"
START, END = "<!-- made by benchmarks/summary.py -->", "<!-- end of the table -->"


def _load(name: str) -> dict[str, Any]:
    return json.loads((HERE / "results" / f"{name}.json").read_text(encoding="utf-8"))


def table() -> str:
    """Return the table, with the machine and the date under it."""
    core, step, models = _load("core"), _load("search_step"), _load("torchvision")["results"]
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
    ratio = step["results"]["float32"]["search / plain"]
    rows.append(("DHP search step of CIFAR ResNet-20, in plain steps", f"{ratio:.2f}"))
    proven, worst = len(models["rows"]), max(row["proof_error"] for row in models["rows"])
    rows.append(
        (
            "torchvision classification networks traced, cut to half the MACs and proven",
            f"{proven} of {proven + len(models['failures'])}",
        )
    )
    rows.append(("largest relative error in those proofs", f"{worst:.0e}"))
    where = core["environment"]
    lines = ["| measured | |", "|---|--:|", *(f"| {what} | {value} |" for what, value in rows)]
    lines += [
        "",
        f"Medians on one core ({where['processor']}, {where['cores']} cores, torch "
        f"{where['torch']}, {where['date'].split()[0]}); spread and versions are in "
        "[benchmarks/results](benchmarks/results).",
    ]
    return "\n".join(lines)


def main() -> None:
    """Replace the table in the README."""
    text = README.read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(START)}.*?{re.escape(END)}", re.DOTALL)
    new = pattern.sub(lambda _: f"{START}\n{table()}\n{END}", text)
    README.write_text(new, encoding="utf-8")
    print(table())


if __name__ == "__main__":
    main()
