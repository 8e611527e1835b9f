"""Every method on one network: ResNet-20 on CIFAR-10 at half the MACs, and what that is worth.

    python benchmarks/methods.py --data DIR --runs DIR [--methods fade dhp] [--seeds 0 1]
        [--jobs 2]

Makes the runs of the recipe `cifar10_resnet20_half` that are asked for, as many at a time as
`--jobs` says, each of one thread; a run goes on where it was stopped. Then compares all runs in the
folder that are finished, asked for or not, with uniform widths: results/cifar10_resnet20_methods.

All networks of a seed train for equally many epochs on the same data in the same order. What is
measured is the network of the last epoch. Nothing is chosen on the test set.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import RESULTS, searched

RECIPE = "cifar10_resnet20_half"
NAME = "cifar10_resnet20_methods"
STEPS = 3 * 390
"""Of a search: three epochs of CIFAR-10 in batches of 128."""


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A method as it is run here."""

    settings: dict[str, Any]
    """Of the method. Strengths are such that three epochs are enough for the budget, reckoned from
    what they pull at and for how many steps, and not tuned."""
    arms: tuple[str, ...] = ()
    """What is trained beside the found network."""
    recipe: str = RECIPE


CONTENDERS = {
    "fade": Contender(settings={"check_every": 20}, arms=("scratch",)),
    "dhp": Contender(
        settings={"steps": STEPS - 40, "stop_limit": 0.0, "check_every": 20},
        arms=("uniform", "full", "scratch"),
    ),
    # Trained plainly and cut at once; beside it, cut by measured damage and healed.
    "one_shot": Contender(settings={"criterion": "l1"}, arms=("compress",)),
    # Scales start at 1, and 0.0125 * 0.1 in every step pull them by 1.5 in all.
    "slimming": Contender(settings={"sparsity": 0.0125, "check_every": 20}),
    # Gates start at 1, and a momentum of 0.9 makes 0.005 * 0.1 in every step 5.9 in all.
    "sss": Contender(settings={"sparsity": 0.005, "check_every": 20}),
    # Units are chosen after half of the search; then exp(-0.1 * 0.001 * 585^2 / 2) = exp(-17).
    "growing_reg": Contender(
        settings={
            "warm_up": STEPS // 2,
            "growth": 0.001,
            "grow_every": 1,
            "ceiling": 5.0,
            "check_every": 20,
        }
    ),
    # Norms start at 1, and 0.02 * 0.1 in every step after the first epoch shrink them by 1.6.
    "hinge": Contender(
        settings={"start": "identity", "sparsity": 0.02, "warm_up": 390, "check_every": 20}
    ),
    "random_search": Contender(settings={"candidates": 50}),
    "lw_dna": Contender(settings={}, recipe=f"{RECIPE}_lw_dna"),
}


def run_of(method: str, seed: int, given: argparse.Namespace) -> Path:
    """Make a run, or go on with it; return its folder."""
    contender = CONTENDERS[method]
    # What the network and its found widths are worth without a method needs no five seeds.
    arms = (
        contender.arms if seed < 2 else [a for a in contender.arms if a not in ("full", "scratch")]
    )
    options = ["--seed", str(seed), "--task.folder", str(given.data), "--method.name", method]
    options += ["--arms", f"[{','.join(arms)}]"]
    for name, value in contender.settings.items():
        options += [f"--method.{name}", str(value)]
    return searched(contender.recipe, given.runs / f"{method}-{seed}", options)


def main() -> None:
    """Make the runs, and write what all of them say."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--methods", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    with ThreadPoolExecutor(given.jobs) as pool:
        wanted = [(method, seed) for seed in given.seeds for method in given.methods]
        for folder in pool.map(lambda each: run_of(*each, given), wanted):
            print(folder, flush=True)
    # Results name runs as they are given here, and nobody else has such folders.
    finished = sorted(path.parent.name for path in given.runs.glob("*/results.json"))
    command = [sys.executable, "-m", "widthwise", "compare", *finished]
    out = str((RESULTS / NAME).resolve())
    subprocess.run([*command, "--against", "uniform", "--out", out], check=True, cwd=given.runs)


if __name__ == "__main__":
    main()
