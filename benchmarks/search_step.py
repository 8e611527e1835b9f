"""What a search step costs beside a plain training step, measured side by side.

Two copies of one network take turns, one plain, one with a search attached, so that whatever else
the machine does falls on both. A step is forward, backward, optimizer (SGD, `fused`) and, for the
search, its own step.

    python benchmarks/search_step.py [--steps 30] [--networks resnet20 resnet18] [--method fade]
        [--device cuda]

Adds to results/search_step.json, where a network that is measured again replaces what there was;
with another method than DHP to results/search_step_METHOD.json, and on another device than the CPU
to results/search_step_DEVICE.json.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torchvision
from torch import nn
from torch.nn import functional

import widthwise as ww
from harness import RESULTS, spread, write
from widthwise.methods import dhp, fade
from widthwise.models.dncnn import DnCNN
from widthwise.models.resnet_cifar import ResNetCifar
from widthwise.models.srresnet import SRResNet

SEED = 0
BATCH = 128

METHODS: dict[str, Callable[..., Any]] = {
    "dhp": dhp,
    # Units are chosen at the first step, so that gates are on the move.
    "fade": partial(fade, steps=100_000, warm_up=0.0),
}
"""What is attached."""

SETTINGS: dict[str, dict[str, Any]] = {
    "float32": {},
    "float32, channels_last": {"memory_format": torch.channels_last},
    "bfloat16 autocast": {"autocast": True},
    "bfloat16 autocast, channels_last": {"memory_format": torch.channels_last, "autocast": True},
}
"""The ways in which the network is trained."""


@dataclass(frozen=True)
class Trained:
    """A network and the batches that it is trained on."""

    title: str
    build: Callable[[], nn.Module]
    batch: int
    shape: tuple[int, int, int] = (3, 32, 32)
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = functional.cross_entropy
    larger: int = 1
    """Of networks that return images: how many times."""
    rate: float = 0.1

    def batch_of(self, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw images, and labels or other images."""
        images = torch.randn(self.batch, *self.shape, generator=generator)
        if self.loss is functional.cross_entropy:
            return images, torch.randint(0, 10, (self.batch,), generator=generator)
        channels, *sides = self.shape
        large = [self.larger * side for side in sides]
        return images, torch.randn(self.batch, channels, *large, generator=generator)


NETWORKS = {
    "resnet20": Trained("CIFAR ResNet-20", lambda: ResNetCifar(depth=20), BATCH),
    "resnet20_64": Trained("CIFAR ResNet-20", lambda: ResNetCifar(depth=20), 64),
    "resnet20_256": Trained("CIFAR ResNet-20", lambda: ResNetCifar(depth=20), 256),
    "resnet56": Trained("CIFAR ResNet-56", lambda: ResNetCifar(depth=56), BATCH),
    "resnet56_64": Trained("CIFAR ResNet-56", lambda: ResNetCifar(depth=56), 64),
    "resnet56_256": Trained("CIFAR ResNet-56", lambda: ResNetCifar(depth=56), 256),
    "mobilenet_v2": Trained(
        "torchvision MobileNetV2", torchvision.models.mobilenet_v2, 16, (3, 224, 224)
    ),
    "resnet18": Trained("torchvision ResNet-18", torchvision.models.resnet18, 16, (3, 64, 64)),
    "resnet50": Trained("torchvision ResNet-50", torchvision.models.resnet50, 16, (3, 224, 224)),
    "dncnn": Trained("DnCNN", DnCNN, 16, (1, 64, 64), functional.mse_loss, rate=1e-3),
    "srresnet": Trained(
        "SRResNet x4", SRResNet, 16, (3, 24, 24), functional.mse_loss, larger=4, rate=1e-3
    ),
}
"""By the name that the command line knows. ResNet-18 on small images has the largest weights for
its arithmetic: the worst case known."""


def stepper(
    model: nn.Module,
    search: Any,
    *,
    trained: Trained = NETWORKS["resnet20"],
    device: str = "cpu",
    memory_format: torch.memory_format = torch.contiguous_format,
    autocast: bool = False,
) -> tuple[Callable[[], None], dict[str, Callable[[], None]]]:
    """Return one whole step, and its parts."""
    images, targets = trained.batch_of(torch.Generator().manual_seed(SEED))
    images = images.to(device).contiguous(memory_format=memory_format)
    targets = targets.to(device)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=trained.rate, momentum=0.9, weight_decay=1e-4, fused=True
    )

    def forward_backward() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16, enabled=autocast):
            loss = trained.loss(model(images), targets)
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


def in_turns(
    steps: dict[str, Callable[[], None]], repeats: int, *, device: str = "cpu"
) -> dict[str, dict[str, Any]]:
    """Time several callables, one run of each after the other, by the clock and by the processor.

    The clock is what a user waits for; processor seconds hardly depend on what else is running. On
    a GPU, the peak of the memory that PyTorch holds there is read too.
    """
    clock: dict[str, list[float]] = {name: [] for name in steps}
    processor: dict[str, list[float]] = {name: [] for name in steps}
    peak: dict[str, int] = {}
    on_gpu = device == "cuda"
    for turn in range(repeats + 3):
        for name, step in steps.items():
            if on_gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
                held = torch.cuda.memory_allocated()
            start = time.perf_counter(), time.process_time()
            step()
            if on_gpu:
                torch.cuda.synchronize()
                # Both copies live there: only what a step needs on top tells them apart.
                peak[name] = torch.cuda.max_memory_allocated() - held
            if turn >= 3:
                clock[name].append(time.perf_counter() - start[0])
                processor[name].append(time.process_time() - start[1])
    memory = {name: {"step_memory_bytes": peak[name]} for name in peak}
    return {
        name: {**spread(clock[name]), "processor": spread(processor[name]), **memory.get(name, {})}
        for name in steps
    }


def ratio(plain: dict[str, Any], search: dict[str, Any]) -> float:
    """Divide two medians."""
    return round(search["median_s"] / plain["median_s"], 3)


def compared(
    trained: Trained, setting: dict[str, Any], *, method: str, device: str, steps: int
) -> Any:
    """Measure one network in one setting."""
    torch.manual_seed(SEED)
    layout = setting.get("memory_format", torch.contiguous_format)
    plain = trained.build().to(device, memory_format=layout)
    searched = copy.deepcopy(plain)
    example = torch.zeros(1, *trained.shape, device=device)
    search = METHODS[method](searched, example, budget=ww.Macs(0.5))
    plain_step, plain_parts = stepper(plain, None, trained=trained, device=device, **setting)
    search_step, search_parts = stepper(searched, search, trained=trained, device=device, **setting)
    both = {"plain step": plain_step, "search step": search_step}
    whole = in_turns(both, steps, device=device)
    parts = {f"plain: {part}": run for part, run in plain_parts.items() if part != "prox"}
    parts |= {f"search: {part}": run for part, run in search_parts.items()}
    timed = in_turns(parts, steps, device=device)
    plain_time, search_time = whole["plain step"], whole["search step"]
    weights = {
        name: sum(parameter.numel() for parameter in model.parameters())
        for name, model in (("plain", plain), ("search", searched))
    }
    return {
        **whole,
        "search / plain": ratio(plain_time, search_time),
        "search / plain, processor": ratio(plain_time["processor"], search_time["processor"]),
        "trained numbers": weights,
        "images per second": round(trained.batch / search_time["median_s"]),
        "parts": timed,
    }


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30, help="measured steps of each kind")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=["resnet20"])
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--method", choices=METHODS, default="dhp")
    parser.add_argument("--device", default="cpu")
    asked = parser.parse_args()
    suffix = "" if asked.method == "dhp" else f"_{asked.method}"
    suffix += "" if asked.device == "cpu" else f"_{asked.device}"

    results: dict[str, Any] = {
        "what": f"{asked.method} beside plain training, SGD with momentum and weight decay, "
        f"seed {SEED}",
        "device": torch.cuda.get_device_name() if asked.device == "cuda" else asked.device,
        "networks": {},
    }
    path = RESULTS / f"search_step{suffix}.json"
    if path.exists():
        results["networks"] = json.loads(path.read_text())["results"]["networks"]
    for name in asked.networks:
        trained = NETWORKS[name]
        shape = "x".join(map(str, trained.shape))
        rows: dict[str, Any] = {"what": f"{trained.title}, batch {trained.batch} of {shape}"}
        results["networks"][name] = rows
        for setting in asked.settings:
            rows[setting] = compared(
                trained,
                SETTINGS[setting],
                method=asked.method,
                device=asked.device,
                steps=asked.steps,
            )
            found = {key: value for key, value in rows[setting].items() if "/" in key}
            print(rows["what"], "|", setting, "|", found, flush=True)
            write(f"search_step{suffix}", results)


if __name__ == "__main__":
    main()
