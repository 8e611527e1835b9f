"""Time the core: trace, plan with cost, shrink, and import; writes results/core.json.

Run it on an idle machine with one thread: `OMP_NUM_THREADS=1 python benchmarks/core.py`.
"""

from __future__ import annotations

import subprocess
import sys

import torch
import torchvision

import widthwise as ww
from harness import spread, timed, write

TARGETS_S = {
    "trace resnet50": 0.5,
    "trace densenet121": 1.0,
    "plan and cost resnet50": 0.2,
    "shrink vgg16 without the proof": 2.0,
    "import beyond torch": 0.3,
}


def import_beyond_torch(repeats: int = 9) -> dict[str, float | int]:
    """Seconds from torch imported to widthwise imported, in fresh processes."""
    code = (
        "import torch, time; t = time.perf_counter(); import widthwise;"
        "print(time.perf_counter() - t)"
    )
    seconds = []
    for turn in range(repeats + 1):
        run = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        if turn:  # the first fills the file cache
            seconds.append(float(run.stdout))
    return spread(seconds)


def main() -> None:
    """Measure everything, print a table, write the file."""
    torch.set_num_threads(1)
    image = torch.zeros(1, 3, 224, 224)
    resnet = torchvision.models.resnet50().eval()
    densenet = torchvision.models.densenet121().eval()
    vgg = torchvision.models.vgg16().eval()

    graph = ww.trace(resnet, image)
    vgg_plan = ww.plan(ww.trace(vgg, image), score=ww.scores.L1(), budget=ww.Macs(0.5))

    def plan_and_cost() -> None:
        plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(0.5))
        plan.macs(), plan.params()

    results = {
        "trace resnet50": timed(lambda: ww.trace(resnet, image)),
        "trace densenet121": timed(lambda: ww.trace(densenet, image)),
        "plan and cost resnet50": timed(plan_and_cost),
        "shrink vgg16 without the proof": timed(
            lambda: ww.shrink(vgg, vgg_plan, verify=False), repeats=5
        ),
        "import beyond torch": import_beyond_torch(),
    }
    for name, target in TARGETS_S.items():
        median = results[name]["median_s"]
        results[name]["target_s"] = target
        print(f"{name:32} {median:7.3f} s   target {target:.1f} s")
    print(f"written: {write('core', results)}")


if __name__ == "__main__":
    main()
