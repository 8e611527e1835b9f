"""Seconds to trace, plan and cut, beside what Torch-Pruning takes to build its graph and prune.

    python benchmarks/cut_speed.py [NETWORK ...]        needs `pip install torch-pruning`

Both start from the same network in memory and end with a narrow one in memory, in turns, on one
thread. Ours meets a budget of MACs exactly; Torch-Pruning removes a share of all channels by the
same scores (group L1, global, multiples of 8), which is another amount, and knows no budget of
MACs. Its iterative way to one takes as many steps as asked for. What the proof takes on top is a
column of its own: nobody else has one.

Writes results/cut_speed.json.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import timm
import torch
import torchvision
from torch import nn

import widthwise as ww
from harness import write

IMAGE = torch.zeros(1, 3, 224, 224)
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "resnet50": torchvision.models.resnet50,
    "densenet121": torchvision.models.densenet121,
    "vgg16": torchvision.models.vgg16,
    "mobilenet_v2": torchvision.models.mobilenet_v2,
    "convnext_tiny": torchvision.models.convnext_tiny,
    "efficientnet_b0": torchvision.models.efficientnet_b0,
    "regnet_y_400mf": torchvision.models.regnet_y_400mf,
    "swin_tiny": lambda: timm.create_model("swin_tiny_patch4_window7_224"),
}
TURNS = 5


def ours(network: nn.Module, parts: dict[str, list[float]]) -> None:
    """Trace, plan, cut without the proof; and cut with it."""
    times = [time.perf_counter()]
    graph = ww.trace(network, IMAGE)
    times.append(time.perf_counter())
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
    times.append(time.perf_counter())
    ww.shrink(network, plan, verify=False)
    times.append(time.perf_counter())
    ww.shrink(network, plan)
    times.append(time.perf_counter())
    trace, decide, cut, proven = (b - a for a, b in itertools.pairwise(times))
    parts["trace"].append(trace)
    parts["plan"].append(decide)
    parts["cut"].append(cut)
    parts["cut and prove"].append(proven)
    parts["widthwise"].append(trace + decide + cut)


def theirs(network: nn.Module, parts: dict[str, list[float]]) -> None:
    """Build the pruner of Torch-Pruning, and prune once."""
    import torch_pruning as tp

    last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
    start = time.perf_counter()
    pruner = tp.pruner.BasePruner(
        network,
        IMAGE,
        importance=tp.importance.GroupMagnitudeImportance(p=1),
        global_pruning=True,
        pruning_ratio=0.3,
        round_to=8,
        ignored_layers=[last],
    )
    pruner.step()
    parts["Torch-Pruning"].append(time.perf_counter() - start)


def of_network(build: Callable[[], nn.Module]) -> dict[str, Any]:
    """Measure one network in turns; the first turn of each does not count."""
    names = ("trace", "plan", "cut", "cut and prove", "widthwise", "Torch-Pruning")
    parts: dict[str, list[float]] = {name: [] for name in names}
    network = build().eval()
    for _ in range(TURNS + 1):
        ours(network, parts)
        theirs(copy.deepcopy(network), parts)
    row = {name: round(statistics.median(times[1:]), 4) for name, times in parts.items()}
    return row | {"of Torch-Pruning": round(row["widthwise"] / row["Torch-Pruning"], 3)}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), metavar="NETWORK")
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = {}
    for name in given.networks:
        rows[name] = of_network(NETWORKS[name])
        print(name, rows[name], flush=True)
    ratios = [row["of Torch-Pruning"] for row in rows.values()]
    print(write("cut_speed", {"median ratio": statistics.median(ratios), "seconds": rows}))


if __name__ == "__main__":
    main()
