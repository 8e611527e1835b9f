"""Cut trained networks and heal them: accuracy right after, with BatchNorm estimated anew, healed.

    python benchmarks/healing.py --parents DIR --data DIR [--keep 0.7 0.5 0.3]

The parents come from `parents.py`. 1,024 training images without labels; no training; accuracy on
the 10,000 test images, on which nothing is chosen. Writes results/healing.json.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

import widthwise as ww
from harness import write
from parents import accuracy, normalised
from widthwise.data.cifar import load_cifar10
from widthwise.data.source import Source
from widthwise.models import resolve

INPUTS, BATCH = 1_024, 128
SCORES = {"l1": ww.scores.L1(), "uniform": ww.scores.Uniform()}


def parent(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Load a trained network and what was noted about it."""
    network = resolve(f"widthwise/{path.stem.rpartition('-')[0]}").build()
    network.load_state_dict(safetensors.torch.load_file(path))
    with safetensors.safe_open(path, "pt") as file:
        return network.eval(), json.loads(file.metadata()["facts"])


def estimated_anew(network: nn.Module, batches: list[Tensor]) -> None:
    """Replace the statistics of batch normalisations by those of some batches."""
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None
    network.train()
    with torch.no_grad():
        for batch in batches:
            network(batch)
    network.eval()


def main() -> None:
    """Cut, heal and measure every parent."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parents", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--keep", type=float, nargs="+", default=[0.7, 0.5, 0.3])
    given = parser.parse_args()
    data = load_cifar10(Source(folder=given.data))
    batches = [
        normalised(data.train.images[start : start + BATCH], data)
        for start in range(0, INPUTS, BATCH)
    ]

    def measured(network: nn.Module) -> float:
        return round(accuracy(network, data.test.images, data.test.labels, data), 2)

    rows = []
    for path in sorted(given.parents.glob("*.safetensors")):
        network, facts = parent(path)
        graph = ww.trace(network, torch.zeros(1, 3, 32, 32))
        for keep in given.keep:
            for name, score in SCORES.items():
                plan = ww.plan(graph, score=score, budget=ww.Macs(keep), round_to=1)
                again = ww.shrink(network, plan)
                estimated_anew(again, batches)
                small = ww.shrink(network, plan)
                row = {
                    "network": path.stem,
                    "full": round(facts["test"], 2),
                    "widths by": name,
                    "macs": round(plan.macs() / plan.full_macs, 4),
                    "right after": measured(small),
                    "batchnorm": measured(again),
                }
                start = time.perf_counter()
                ww.heal(small, network, plan, batches)
                row |= {
                    "heal_s": round(time.perf_counter() - start, 1),
                    "healed": measured(small),
                }
                rows.append(row)
                print(row, flush=True)
                write("healing", {"inputs": INPUTS, "rows": rows})


if __name__ == "__main__":
    main()
