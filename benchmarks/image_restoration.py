"""Narrow denoisers and super-resolution networks: found, trained, and measured on published sets.

    python benchmarks/image_restoration.py --data DIR --runs DIR [--seeds 0 1]
        [--tasks denoising]

The folder of data has `train/BSDS400`, `denoising/BSD68`, `denoising/Set12` and, below
`super_resolution`, Set5, Set14 and B100, each with `x4/HR` and `x4/LR`. Runs of the recipes
`bsds_dncnn_*` and `bsds_edsr_*` go on where they were stopped. Nothing is chosen on a test set:
what is measured is the network of the last epoch, by the protocol of the papers, in the numbers it
was trained in.

Writes results/image_restoration_TASK.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from harness import arm_of, searched, write
from widthwise.models import resolve
from widthwise.recipes.evaluate import finished_recipe

BUDGETS = (60, 40, 20)
"""Percent of the MACs."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A network, and what it is tested on."""

    network: str
    """Its name, in those of its recipes and runs."""
    watched: str
    """What runs measure after every epoch."""
    sets: dict[str, str]
    """Name of a test set -> its folder in the data."""


SUBJECTS = {
    "denoising": Subject(
        network="dncnn",
        watched="Set12",
        sets={"BSD68": "denoising/BSD68", "Set12": "denoising/Set12"},
    ),
    "super-resolution": Subject(
        network="edsr",
        watched="Set5",
        sets={name: f"super_resolution/{name}/x4" for name in ("Set5", "Set14", "B100")},
    ),
}


def networks() -> dict[str, tuple[str, str]]:
    """Say what to call a network, and of which run and stage it is."""
    found = {"full": ("dhp40", "full")}
    for percent in BUDGETS:
        run = f"dhp{percent}"
        found[f"DHP {percent} %"] = (run, "found")
        found[f"DHP {percent} %, fresh weights"] = (run, "scratch")
        found[f"uniform {percent} %"] = (run, "uniform")
    found["LW-DNA 60 %"] = ("lw_dna", "found")
    found["fade 40 %"] = ("fade40", "found")
    found["fade 40 %, fresh weights"] = ("fade40", "scratch")
    return found


def run_of(subject: Subject, run: str, seed: int, given: argparse.Namespace) -> Path:
    """Make a run, or go on with it; return its folder."""
    data = given.data
    settings = ["--seed", str(seed), "--task.train_folder", str(data / "train" / "BSDS400")]
    settings += ["--task.test_folder", str(data / subject.sets[subject.watched])]
    recipe = f"bsds_{subject.network}_{run}"
    if run.startswith("dhp"):
        recipe = f"bsds_{subject.network}_dhp40"
        settings += ["--budget.macs", f"0.{run.removeprefix('dhp')}"]
    if run != "dhp40":
        # The full network is the same for every budget, and uniform widths for every method.
        arms = {"lw_dna": "[]", "fade40": "[scratch]"}.get(run, "[uniform,scratch]")
        settings += ["--arms", arms]
    return searched(recipe, given.runs / f"{subject.network}-{run}-{seed}", settings)


def judged(folder: Path, stage: str, place: Path) -> dict[str, float]:
    """Measure the network of a stage on other test data."""
    recipe = finished_recipe(folder, ["--task.test_folder", str(place)])
    network = resolve(str(folder / "stages" / stage)).build()
    values = recipe.task.open().evaluate(network, recipe.hardware)
    return {name: round(value, 4) for name, value in values.items()}


def without(folder: Path, place: Path) -> dict[str, float]:
    """Measure what a network is given: noisy, or enlarged by bicubic interpolation."""
    task = finished_recipe(folder, ["--task.test_folder", str(place)]).task.open()
    measured: dict[str, float] = task.facts()[task.degradation.title]  # type: ignore[attr-defined]
    return {name: round(value, 4) for name, value in measured.items()}


def measure(
    subject: Subject, given: argparse.Namespace, say: Callable[[str], None]
) -> dict[str, Any]:
    """Measure all networks of one subject, of every seed."""
    listed = networks()
    folders = {
        (run, seed): run_of(subject, run, seed, given)
        for seed in given.seeds
        for run in dict.fromkeys(run for run, _ in listed.values())
    }
    any_run = folders["dhp40", given.seeds[0]]
    given_images = {
        name: without(any_run, given.data / place) for name, place in subject.sets.items()
    }
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in listed}
    for name, (run, stage) in listed.items():
        for seed in given.seeds:
            folder = folders[run, seed]
            arm = arm_of(folder, stage)
            row = {
                "seed": seed,
                **{key: arm[key] for key in ("macs", "params", "widths", "epochs", "seconds")},
                **{
                    each: judged(folder, stage, given.data / place)
                    for each, place in subject.sets.items()
                },
            }
            rows[name].append(row)
            say(f"{name} {seed} { ({each: row[each] for each in subject.sets}) }")
    return {"given": given_images, "networks": rows}


def main() -> None:
    """Search, measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--tasks", nargs="+", choices=SUBJECTS, default=list(SUBJECTS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    for name in given.tasks:
        results = measure(SUBJECTS[name], given, lambda line: print(line, flush=True))
        print(write(f"image_restoration_{name.replace('-', '_')}", results))


if __name__ == "__main__":
    main()
