"""Did a DHP search learn, or did it keep what it started with? Reads finished runs.

`python benchmarks/latents_kept.py RUN...` compares, for every searched unit, the magnitude its
latent was initialised with and whether the plan keeps it. The area under the ROC curve is 0.5 if
the initialisation says nothing about the outcome, and 1 if it decides everything. Writes
results/latents_kept.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

import widthwise as ww
from harness import write
from widthwise.recipes.loader import load_recipe
from widthwise.recipes.setting import Setting


def measure(folder: Path) -> dict[str, Any]:
    """Compare initial latents and plan of one run.

    Args:
        folder: A finished run of a DHP recipe.

    Returns:
        The area under the curve, and what is needed to judge it.
    """
    recipe = load_recipe(str(folder / "config.yaml"))
    plan = ww.Plan.load(folder / "plan.json")
    setting = Setting(recipe.model, recipe.task.open(), seed=recipe.seed)
    search = recipe.method.attach(
        setting.fresh(),
        setting.example,
        budget=recipe.budget.open(),
        limits=recipe.limits,
        seed=recipe.seed,
    )
    initial = search.handle.importance()
    sizes, kept = [], []
    for name, axis in search.graph.axes.items():
        if axis.frozen is None:
            mask = np.zeros(axis.width, bool)
            mask[plan.kept[name]] = True
            sizes.append(initial[axis.units])
            kept.append(mask)
    outcome = np.concatenate(kept)
    return {
        "model": recipe.model.name,
        "data": recipe.task.dataset,
        "seed": recipe.seed,
        "search_epochs": json.loads((folder / "stages/search/result.json").read_text("utf-8"))[
            "epochs"
        ],
        "sparsity": recipe.method.sparsity,
        "units": len(outcome),
        "kept_share": round(float(outcome.mean()), 4),
        "auc": round(float(roc_auc_score(outcome, np.concatenate(sizes))), 4),
    }


def main() -> None:
    """Measure the runs named on the command line."""
    rows = [measure(Path(folder)) for folder in sys.argv[1:]]
    for row in rows:
        print(row)
    print(f"written: {write('latents_kept', {'runs': rows})}")


if __name__ == "__main__":
    main()
