"""Where a search of a network without normalisation starts, and the rates at which it diverges.

    python benchmarks/start_of_search.py

DHP's generated weights beside the network's own: standard deviation by layer and of the output, for
the published start and for ours. Then 60 steps of SGD at several rates, on crops of the
photographs that come with scikit-image, of the plain network and of both starts.

And steps of Adam on the DnCNN that was published, which has normalisations: of the plain network,
and of searches with embeddings of two lengths. Writes results/start_of_search.json.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import widthwise as ww
from harness import write
from widthwise.models import resolve
from widthwise.recipes.loader import load_recipe

NETWORKS: dict[str, dict[str, Any]] = {
    "edsr": {"features": 32, "blocks": 4, "scale": 2},
    "srresnet": {"features": 32, "blocks": 4, "scale": 2},
}
STARTS = ("plain", "published", "ours")
RATES = (0.003, 0.01, 0.03)
STEPS = 60
ADAM_RATES = (0.0003, 0.001, 0.003)
ADAM_STEPS = 150
EMBEDDINGS = {"plain": 0, "published": 8, "short": 2}
"""Length of embeddings of a search; 0 for none."""

Batches = list[tuple[torch.Tensor, torch.Tensor]]


def started(name: str, start: str, images: torch.Tensor) -> nn.Module:
    """Build a network, and attach a search to it."""
    torch.manual_seed(0)
    network = resolve(f"widthwise/{name}").build(**NETWORKS[name]).train()
    if start == "ours":
        ww.methods.dhp(network, images, budget=ww.Macs(0.5))
    elif start == "published":
        # As if a normalisation saw everything.
        everything = mock.patch(
            "widthwise.search.handles.hyper_conv._normalised",
            lambda model, graph: np.ones(graph.unit_count, dtype=bool),
        )
        with everything:
            ww.methods.dhp(network, images, budget=ww.Macs(0.5))
    return network


@torch.no_grad()
def deviations(network: nn.Module, images: torch.Tensor) -> dict[str, float]:
    """Measure the standard deviation of the weights of convolutions, and of the output."""
    found = {
        name: round(module.weight.std().item(), 4)
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    }
    return found | {"output": round(network(images).std().item(), 4)}


def losses(
    network: nn.Module, optimizer: torch.optim.Optimizer, batches: Batches, *, short: bool = False
) -> list[float]:
    """Train until a loss is not finite; in short numbers, if they are asked for."""
    found: list[float] = []
    for images, target in batches:
        with torch.autocast("cpu", torch.bfloat16, enabled=short):
            outputs = network(images)
        loss = functional.l1_loss(outputs.float(), target)
        if not loss.isfinite():
            break
        found.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return found


def adam() -> dict[str, Any]:
    """Train the published DnCNN with Adam: as it is, and searched."""
    task = load_recipe(
        "denoise_demo", ["--task.sigma", "70", "--task.batch_size", "16"]
    ).task.open()
    batches = [task.batch(seed) for seed in range(ADAM_STEPS)]
    found: dict[str, Any] = {
        "steps": ADAM_STEPS,
        "network": "dncnn",
        "mean loss of the last 10": {},
    }
    for start, length in EMBEDDINGS.items():
        for rate in ADAM_RATES:
            torch.manual_seed(0)
            network = resolve("widthwise/dncnn").build().train()
            if length:
                images = batches[0][0]
                ww.methods.dhp(network, images, budget=ww.Macs(0.5), embedding_dim=length)
            optimizer = torch.optim.Adam(network.parameters(), lr=rate)
            last = losses(network, optimizer, batches, short=True)[-10:]
            row = f"{start}, rate {rate}"
            found["mean loss of the last 10"][row] = round(sum(last) / len(last), 4)
            print(row, found["mean loss of the last 10"][row], flush=True)
    return found


def main() -> None:
    """Measure every network, start and rate."""
    task = load_recipe("super_resolution_demo").task.open()
    batches = [task.batch(seed) for seed in range(STEPS)]
    images = batches[0][0]
    results: dict[str, Any] = {"steps": STEPS, "momentum": 0.9, "networks": {}}
    for name in NETWORKS:
        row = results["networks"][name] = {
            "deviation": {
                start: deviations(started(name, start, images), images) for start in STARTS
            }
        }
        for start in STARTS:
            for rate in RATES:
                network = started(name, start, images)
                optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9)
                found = losses(network, optimizer, batches)
                done = len(found) == STEPS
                row[f"{start}, rate {rate}"] = {
                    "first loss": round(found[0], 4),
                    "steps until not finite": None if done else len(found),
                    "mean loss of the last 10": round(sum(found[-10:]) / 10, 4) if done else None,
                }
                print(name, start, rate, row[f"{start}, rate {rate}"], flush=True)
    results["adam"] = adam()
    write("start_of_search", results)


if __name__ == "__main__":
    main()
