"""Do the widths matter? The same short training of fresh weights, at widths from several methods.

    python benchmarks/widths_matter.py --parents DIR --data DIR [--runs DIR] [--seeds 0 1]
        [--network resnet20] [--arms full uniform measured] [--epochs 8]

CIFAR-10 at half the MACs. Every network starts from weights that its constructor draws
and is trained by the schedule of `parents.py`, whose last 5,000 training images nothing is trained
on. Arms:

full: the network as it is.
uniform: every layer narrowed by the same factor.
measured: widths by what they cost a trained parent, see `widthwise.compress`: the parent of the
    seed, or of the seed less the number of parents; 1,024 images without labels.
lw_dna: from gradients of one batch by the latents of a network twice as wide, before training.
dhp, fade: what the run of that name and seed has found, see `methods.py`.
wide: what LW-DNA claims, by other means: at no more MACs than the full network, widths by what they
    cost a network twice as wide, which three epochs have trained. To be compared with `full`.

Accuracy on the 10,000 test images after the last epoch. Adds rows to results/widths_matter.json; a
row that is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

import widthwise as ww
from harness import RESULTS, write
from healing import BATCH, INPUTS, parent
from parents import HELD_OUT, PEAK, PEAKS, accuracy, fit, fresh, normalised, prepare
from widthwise.compression.compress import compressed
from widthwise.data.arrays import ImageClasses
from widthwise.data.cifar import load_cifar10
from widthwise.data.source import Source
from widthwise.network.initialisation import draw_fresh
from widthwise.search.limits import Limits

IMAGE = torch.zeros(1, 3, 32, 32)
HALF = ww.Macs(0.5)
FIXED = {"speed_record": ("whiten",)}
"""Axes whose width is not a choice."""
ARMS = ("full", "uniform", "measured", "lw_dna", "dhp", "fade", "wide")
WIDER, BRIEFLY = 2.0, 3
"""Times as wide, and epochs that such a network is trained for, in the arm `wide`."""


def measured(given: argparse.Namespace, seed: int, data: ImageClasses) -> ww.Plan:
    """Choose widths by what they cost a trained network, once per parent."""
    parents = sorted(given.parents.glob(f"{given.network}-*.safetensors"))
    path = parents[seed % len(parents)]
    kept = path.with_suffix(".plan.json")
    if not kept.exists():
        network, _ = parent(path)
        batches = list(normalised(data.train.images[:INPUTS], data).split(BATCH))
        limits = Limits(exclude=FIXED.get(given.network))
        compressed(network, batches, budget=HALF, limits=limits, steps=0).plan.save(kept)
    return ww.Plan.load(kept)


def by_gradients(name: str, seed: int, data: ImageClasses) -> ww.Plan:
    """Choose widths before training."""
    torch.manual_seed(seed)
    batch = normalised(data.train.images[:BATCH], data), data.train.labels[:BATCH]
    _, plan = ww.methods.lw_dna(
        fresh(name), batch[0][:1], loss=functional.cross_entropy, batch=batch, budget=HALF,
        seed=seed,
    )  # fmt: skip
    return plan


def widened(given: argparse.Namespace, data: ImageClasses) -> tuple[nn.Module, ww.Plan]:
    """Return a network twice as wide, and the plan that it is worth cutting by, made once."""
    name, fixed = given.network, FIXED.get(given.network, ())
    kept = given.parents / f"{name}-wide.plan.json"
    torch.manual_seed(0)
    full = fresh(name)
    wide = ww.widen(full, IMAGE, WIDER, exclude=fixed, factory=lambda: fresh(name))
    if not kept.exists():
        macs = ww.Macs(float(ww.trace(full, IMAGE).macs()))
        prepare(wide, data)
        fit(wide, data, epochs=BRIEFLY, seed=0, peak=PEAKS.get(name, PEAK))
        batches = list(normalised(data.train.images[:INPUTS], data).split(BATCH))
        limits = Limits(exclude=fixed)
        compressed(wide.eval(), batches, budget=macs, limits=limits, steps=0).plan.save(kept)
    return wide, ww.Plan.load(kept)


def network_of(
    arm: str, seed: int, given: argparse.Namespace, data: ImageClasses
) -> tuple[nn.Module, float, dict[str, int]]:
    """Build the network of an arm; return it, its share of the MACs, and its widths."""
    name, fixed = given.network, FIXED.get(given.network)
    full = fresh(name)
    graph = ww.trace(full, IMAGE)
    uniform = partial(ww.plan, graph, score=ww.scores.Uniform(), exclude=fixed, round_to=1)
    plans: dict[str, Callable[[], ww.Plan]] = {
        "full": lambda: uniform(budget=ww.Macs(1.0)),
        "uniform": lambda: uniform(budget=HALF),
        "measured": lambda: measured(given, seed, data),
        "lw_dna": lambda: by_gradients(name, seed, data),
    }
    found = given.runs and given.runs / f"{arm}-{seed}" / "plan.json"
    if arm == "wide":
        wide, plan = widened(given, data)
        small = ww.shrink(wide, plan, verify=False)
    else:
        plan = plans[arm]() if arm in plans else ww.Plan.load(found)
        small = ww.shrink(full, plan)
    torch.manual_seed(seed)
    draw_fresh(small, lambda: fresh(name))
    prepare(small, data)
    return small, ww.trace(small, IMAGE).macs() / graph.macs(), plan.widths


def main() -> None:
    """Train whatever is not in the results yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("parents", "data"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--network", default="resnet20")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=["full", "uniform", "measured"])
    parser.add_argument("--epochs", type=int, default=8)
    given = parser.parse_args()
    if given.runs is None and {"dhp", "fade"} & set(given.arms):
        parser.error("the arms dhp and fade need --runs")
    data = load_cifar10(Source(folder=given.data))
    path = RESULTS / "widths_matter.json"
    for seed in given.seeds:
        for arm in given.arms:
            # Read anew each time: another process may have added to it.
            rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
            key = {"network": given.network, "arm": arm, "seed": seed, "epochs": given.epochs}
            if any(key.items() <= row.items() for row in rows):
                continue
            network, share, widths = network_of(arm, seed, given, data)
            start = time.perf_counter()
            peak = PEAKS.get(given.network, PEAK)
            fit(network, data, epochs=given.epochs, seed=seed, peak=peak)
            row = key | {
                "macs": round(share, 4),
                "test": round(accuracy(network, data.test.images, data.test.labels, data), 2),
                "held_out": round(
                    accuracy(
                        network,
                        data.train.images[-HELD_OUT:],
                        data.train.labels[-HELD_OUT:],
                        data,
                    ),
                    2,
                ),
                "seconds": round(time.perf_counter() - start),
                "widths": widths,
            }
            print(row, flush=True)
            rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
            write("widths_matter", {"rows": [*rows, row]})


if __name__ == "__main__":
    main()
