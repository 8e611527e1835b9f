"""What a search step costs beside a plain training step, measured side by side.

Two copies of one network take turns, one plain, one with DHP attached, so that whatever else the
machine does falls on both. A step is forward, backward, optimizer and, for the search, its prox.

    python benchmarks/search_step.py [--steps 30]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import widthwise as ww
from harness import spread, write
from widthwise.methods import dhp
from widthwise.models.resnet_cifar import ResNetCifar

SEED = 0
BATCH = 128

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, channels_last": {"memory_format": torch.channels_last},
    "bfloat16 autocast": {"autocast": True},
}
"""The ways in which the network is trained."""


def stepper(
    model: nn.Module,
    search: Any,
    *,
    memory_format: torch.memory_format = torch.contiguous_format,
    autocast: bool = False,
) -> tuple[Callable[[], None], dict[str, Callable[[], None]]]:
    """Return one whole step, and its parts."""
    generator = torch.Generator().manual_seed(SEED)
    images = torch.randn(BATCH, 3, 32, 32, generator=generator)
    images = images.contiguous(memory_format=memory_format)
    labels = torch.randint(0, 10, (BATCH,), generator=generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)

    def forward_backward() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
            loss = functional.cross_entropy(model(images), labels)
        loss.backward()

    def prox() -> None:
        if search is not None:
            search.step(optimizer)

    def step() -> None:
        forward_backward()
        optimizer.step()
        prox()

    parts = {"forward and backward": forward_backward, "optimizer": optimizer.step, "prox": prox}
    return step, parts


def in_turns(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, dict[str, Any]]:
    """Time several callables, one run of each after the other, by the clock and by the processor.

    The clock is what a user waits for; processor seconds hardly depend on what else is running.
    """
    clock: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(repeats + 3):
        for name, step in steps.items():
            start = time.perf_counter(), time.process_time()
            step()
            if turn >= 3:
                clock[name].append(time.perf_counter() - start[0])
                processor[name].append(time.process_time() - start[1])
    return {name: {**spread(clock[name]), "processor": spread(processor[name])} for name in steps}


def ratio(plain: dict[str, Any], search: dict[str, Any]) -> float:
    """Divide two medians."""
    return round(search["median_s"] / plain["median_s"], 3)


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each kind")
    repeats = parser.parse_args().steps

    results: dict[str, Any] = {
        "what": f"CIFAR ResNet-20, batch {BATCH}, SGD with momentum and weight decay, seed {SEED}",
    }
    for name, setting in SETTINGS.items():
        torch.manual_seed(SEED)
        layout = setting.get("memory_format", torch.contiguous_format)
        plain = ResNetCifar(depth=20).to(memory_format=layout)
        searched = copy.deepcopy(plain)
        search = dhp(searched, torch.zeros(1, 3, 32, 32), budget=ww.Macs(0.5))
        plain_step, plain_parts = stepper(plain, None, **setting)
        search_step, search_parts = stepper(searched, search, **setting)
        whole = in_turns({"plain step": plain_step, "search step": search_step}, repeats)
        parts = in_turns(
            {
                **{f"plain: {part}": run for part, run in plain_parts.items() if part != "prox"},
                **{f"search: {part}": run for part, run in search_parts.items()},
            },
            repeats,
        )
        plain_time, search_time = whole["plain step"], whole["search step"]
        results[name] = {
            **whole,
            "search / plain": ratio(plain_time, search_time),
            "search / plain, processor": ratio(plain_time["processor"], search_time["processor"]),
            "parts": parts,
        }
        print(name, {key: value for key, value in results[name].items() if "/" in key})
    print(write("search_step", results))


if __name__ == "__main__":
    main()
