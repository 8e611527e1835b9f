"""Cut trained networks and heal them: accuracy right after, with BatchNorm estimated anew, healed.

    python benchmarks/healing.py --parents DIR --data DIR [--networks resnet20-0 ...] [--keep 0.5]

The parents come from `parents.py`. 1,024 training images without labels (the score `Taylor` alone
reads labels); no training, except where `--epochs` asks for some after the cut, on the training
images that are not held out, with labels and the full network as a teacher. Accuracy on the 10,000
test images, on which nothing is chosen.
The arms of Torch-Pruning need `pip install torch-pruning`; what they cut has BatchNorm estimated
anew, and nothing else.

Adds rows to results/healing.json; a row that is there is not measured again.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

import widthwise as ww
from harness import RESULTS, write
from parents import HELD_OUT, accuracy, fit, fresh, normalised, taught
from peer_cuts import CRITERIA, cut
from widthwise.compression.compress import STEPS, compressed
from widthwise.data.arrays import ImageClasses
from widthwise.data.cifar import load_cifar10
from widthwise.data.source import Source

INPUTS, BATCH = 1_024, 128
PEAK = 0.05
"""Learning rate after a cut: an eighth of what the parents were trained with."""
TAUGHT = 0.5
"""Share of the loss after a cut that is the distance from the full network's answers: the best of
the ways that `after_healing.py` compares."""

Batches = Sequence[Tensor]


def parent(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a trained network and what was noted about it."""
    network = fresh(path.stem.rpartition("-")[0])
    network.load_state_dict(safetensors.torch.load_file(path))
    with safetensors.safe_open(path, "pt") as file:
        return network.eval(), json.loads(file.metadata()["facts"])


def estimated_anew(network: nn.Module, batches: Batches) -> nn.Module:
    """Return a copy with the statistics of batch normalisations replaced by those of batches."""
    network = copy.deepcopy(network)
    momenta = {}
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
            module.momentum = None
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    # Training that follows averages as ever.
    for module, momentum in momenta.items():
        module.momentum = momentum
    return network.eval()


def scores(batches: Batches, labels: Tensor) -> dict[str, Callable[[], Any]]:
    """Return the scores that decide widths in one shot."""
    pairs = list(zip(batches, labels.split(BATCH), strict=True))
    return {
        "uniform": ww.scores.Uniform,
        "L1": ww.scores.L1,
        "Taylor": lambda: ww.scores.Taylor(loss=functional.cross_entropy, batches=pairs),
        "Reconstruction": lambda: ww.scores.Reconstruction(batches),
    }


def measured(
    network: nn.Module,
    arm: str,
    keep: float,
    batches: Batches,
    data: ImageClasses,
    epochs: Sequence[int],
) -> dict[str, Any]:
    """Cut a network by one arm, and measure what is left of it step by step."""

    def tested(each: nn.Module) -> float:
        return round(accuracy(each, data.test.images, data.test.labels, data), 2)

    def trained_on(each: nn.Module) -> dict[str, float]:
        found = {}
        loss_of = taught(network, TAUGHT)
        for count in epochs:
            trained = copy.deepcopy(each)
            fit(trained, data, epochs=count, seed=0, peak=PEAK, loss_of=loss_of)
            found[f"{count} epochs"] = tested(trained)
        return found

    start = time.perf_counter()
    row: dict[str, Any] = {}
    if arm in CRITERIA:
        pairs = list(zip(batches, data.train.labels[:INPUTS].split(BATCH), strict=True))
        small, share = cut(network, arm, pairs, keep)
        row["decide_s"] = round(time.perf_counter() - start, 1)
        anew = estimated_anew(small, batches)
        row |= {
            "macs": round(share, 4),
            "right after": tested(small),
            "batchnorm": tested(anew),
        }
        return row | trained_on(anew)
    if arm == "compress":
        found = compressed(network, batches, budget=ww.Macs(keep), steps=0)
        row["chosen"] = found.trials[0].name
        plan = found.plan
    else:
        graph = ww.trace(network, batches[0][:1])
        score = scores(batches, data.train.labels[:INPUTS])[arm]()
        plan = ww.plan(graph, score=score, budget=ww.Macs(keep), round_to=1)
    row["decide_s"] = round(time.perf_counter() - start, 1)
    small = ww.shrink(network, plan)
    fitted, healed = copy.deepcopy(small), copy.deepcopy(small)
    for name, each, steps in (("heal", fitted, 0), ("refine", healed, STEPS)):
        start = time.perf_counter()
        ww.heal(each, network, plan, batches, steps=steps)
        row[f"{name}_s"] = round(time.perf_counter() - start, 1)
    row |= {
        "macs": round(plan.macs() / plan.full_macs, 4),
        "right after": tested(small),
        "batchnorm": tested(estimated_anew(small, batches)),
        "healed": tested(fitted),
        "refined": tested(healed),
    }
    return row | trained_on(healed)


def main() -> None:
    """Cut, heal and measure every parent that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parents", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--networks", nargs="*")
    parser.add_argument("--keep", type=float, nargs="+", default=[0.7, 0.5, 0.3])
    arms = ["uniform", "L1", "Taylor", "Reconstruction", "compress"]
    parser.add_argument("--arms", nargs="+", choices=[*arms, *CRITERIA], default=arms)
    parser.add_argument("--epochs", type=int, nargs="*", default=[])
    given = parser.parse_args()
    data = load_cifar10(Source(folder=given.data))
    assert len(data.train.images) - HELD_OUT > INPUTS
    batches = list(normalised(data.train.images[:INPUTS], data).split(BATCH))
    path = RESULTS / "healing.json"
    for weights in sorted(given.parents.glob("*.safetensors")):
        if given.networks and weights.stem not in given.networks:
            continue
        network, facts = parent(weights)
        for keep in given.keep:
            for arm in given.arms:
                # Read anew each time: another process may have added to it.
                rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
                key = {"network": weights.stem, "budget": keep, "widths by": arm}
                wanted = {"batchnorm", *(f"{count} epochs" for count in given.epochs)}
                if any(key.items() <= row.items() and wanted <= row.keys() for row in rows):
                    continue
                row = key | {"full": round(facts["test"], 2)}
                row |= measured(network, arm, keep, batches, data, given.epochs)
                rows = json.loads(path.read_text())["results"]["rows"] if path.exists() else []
                rows = [each for each in rows if not key.items() <= each.items()] + [row]
                print(row, flush=True)
                write("healing", {"inputs": INPUTS, "rows": rows})


if __name__ == "__main__":
    main()
