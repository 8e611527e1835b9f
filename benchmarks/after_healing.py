"""Three epochs with labels after a cut: which way of training on brings back most?

    python benchmarks/after_healing.py --parents DIR --data DIR [--networks resnet20-0 ...]
        [--ways plain teacher] [--keep 0.5]

What `compress` leaves of the parents of `parents.py`, refined as by default, is trained on with the
labels of the same 45,000 images, in ways that differ in one thing each. Every way is judged by the
5,000 held-out images; the test images only report. Beside them stands what the same widths reach
from fresh weights in as many epochs as the parent was trained for: what is lost there is lost to
the widths, and no way of training on can be blamed for it.

Adds rows to results/after_healing.json; a row that is there is not measured again.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

import widthwise as ww
from harness import RESULTS, write
from healing import BATCH, INPUTS, PEAK, parent
from parents import BATCH as TRAINED_WITH
from parents import HELD_OUT, SHIFTED, accuracy, fit, fresh, normalised, smoothed, taught
from widthwise.compression.compress import STEPS, compressed
from widthwise.data.arrays import ImageClasses
from widthwise.data.cifar import load_cifar10
from widthwise.data.source import Source
from widthwise.network.initialisation import draw_fresh

EPOCHS = 3


@dataclass(frozen=True, kw_only=True)
class Way:
    """How a healed network is trained on."""

    peak: float = PEAK
    batch_size: int = TRAINED_WITH
    taught: float = 0.0
    """Share of the loss that is the distance from the full network's answers."""
    pixels: int = SHIFTED


WAYS = {
    "plain": Way(),
    "twice the rate": Way(peak=2 * PEAK),
    "teacher": Way(taught=1.0),
    "labels and teacher": Way(taught=0.5),
    "labels and teacher, half the rate": Way(taught=0.5, peak=PEAK / 2),
    "labels and teacher, images shifted less": Way(taught=0.5, pixels=SHIFTED // 4),
    "half the batch": Way(batch_size=TRAINED_WITH // 2, peak=PEAK / 2),
}
FRESH = "fresh weights"


def healed(
    network: nn.Module, weights: Path, keep: float, data: ImageClasses
) -> tuple[nn.Module, ww.Plan]:
    """Cut and heal a parent, once."""
    kept = weights.with_name(f"{weights.stem}-{keep:g}-healed.pt")
    chosen = weights.with_name(f"{weights.stem}-{keep:g}.plan.json")
    batches = list(normalised(data.train.images[:INPUTS], data).split(BATCH))
    if not chosen.exists():
        compressed(network, batches, budget=ww.Macs(keep), steps=0).plan.save(chosen)
    plan = ww.Plan.load(chosen)
    small = ww.shrink(network, plan)
    if kept.exists():
        small.load_state_dict(torch.load(kept))
    else:
        ww.heal(small, network, plan, batches, steps=STEPS)
        torch.save(small.state_dict(), kept)
    return small, plan


def judged(network: nn.Module, data: ImageClasses) -> dict[str, float]:
    """Measure on the images that ways are judged by, and on those that are reported."""
    held_out = data.train.images[-HELD_OUT:], data.train.labels[-HELD_OUT:]
    return {
        "held_out": round(accuracy(network, *held_out, data), 2),
        "test": round(accuracy(network, data.test.images, data.test.labels, data), 2),
    }


def main() -> None:
    """Train on in whatever ways are not in the results yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parents", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--ways", nargs="+", choices=[*WAYS, FRESH], default=[*WAYS, FRESH])
    parser.add_argument("--keep", type=float, default=0.5)
    given = parser.parse_args()
    data = load_cifar10(Source(folder=given.data))
    path = RESULTS / "after_healing.json"
    for weights in sorted(given.parents.glob("*.safetensors")):
        if given.networks and weights.stem not in given.networks:
            continue
        for way in given.ways:
            # Read anew each time: another process may have added to it.
            rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
            key = {"network": weights.stem, "budget": given.keep, "way": way}
            if any(key.items() <= row.items() for row in rows):
                continue
            network, facts = parent(weights)
            small, plan = healed(network, weights, given.keep, data)
            row = key | {
                "macs": round(plan.macs() / plan.full_macs, 4),
                "full": judged(network, data),
                "healed": judged(small, data),
            }
            start = time.perf_counter()
            if way == FRESH:
                torch.manual_seed(facts["seed"])
                draw_fresh(small, partial(fresh, weights.stem.rpartition("-")[0]))
                fit(small, data, epochs=facts["epochs"], seed=facts["seed"])
                row["epochs"] = facts["epochs"]
            else:
                how = WAYS[way]
                loss_of = taught(network, how.taught) if how.taught else smoothed
                fit(
                    small, data, epochs=EPOCHS, seed=0, peak=how.peak, batch_size=how.batch_size,
                    loss_of=loss_of, pixels=how.pixels,
                )  # fmt: skip
                row["epochs"] = EPOCHS
            row |= {"trained": judged(small, data), "seconds": round(time.perf_counter() - start)}
            print(row, flush=True)
            rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
            write("after_healing", {"rows": [*rows, row]})


if __name__ == "__main__":
    main()
