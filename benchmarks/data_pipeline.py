"""What images cost beside the training on them: an epoch of batches against an epoch of steps.

Both take turns, so that whatever else the machine does falls on both: an epoch of loading,
flipping, shifting and normalising images of the size and number of CIFAR-10, and training steps of
ResNet-20, whose median times the number of batches is the epoch. Images are noise, which takes no
less time.

    python benchmarks/data_pipeline.py [--repeats 9]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from harness import write
from search_step import BATCH, SEED, SETTINGS, in_turns, stepper
from widthwise.data import Split
from widthwise.data.augment import random_flip, random_shift
from widthwise.data.batches import derived_seed, train_batches
from widthwise.data.cifar import MEAN, STD, TRAIN
from widthwise.models.resnet_cifar import ResNetCifar

STEPS = 5
"""Training steps per turn."""


def noise() -> Split:
    """Return as many images and labels as CIFAR-10 has for training."""
    generator = torch.Generator().manual_seed(SEED)
    return Split(
        images=torch.randint(0, 256, (TRAIN, 3, 32, 32), dtype=torch.uint8, generator=generator),
        labels=torch.randint(0, 10, (TRAIN,), generator=generator),
    )


def epoch(loader: Any, prepare: Callable[[Tensor, int], Tensor]) -> None:
    """Go through all batches and prepare each."""
    for number, (images, _) in enumerate(loader):
        prepare(images, derived_seed(SEED, 0, number))


def share(batches: dict[str, Any], steps: dict[str, Any], number: int) -> float:
    """Divide the time of an epoch of batches by that of an epoch of steps."""
    return round(batches["median_s"] / (steps["median_s"] / STEPS * number), 4)


def main() -> None:
    """Measure, print and write the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=9, help="measured epochs of batches")
    repeats = parser.parse_args().repeats

    mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in (MEAN, STD))
    loader = train_batches(noise(), batch_size=BATCH, seed=SEED)
    some, _ = next(iter(loader))
    epochs = count()

    def whole() -> None:
        loader.sampler.set_epoch(next(epochs))
        epoch(
            loader,
            lambda images, seed: (
                (random_shift(random_flip(images, seed=seed), pixels=4, seed=seed) - mean) / std
            ),
        )

    def repeated(run: Callable[[], object], times: int) -> None:
        for _ in range(times):
            run()

    results: dict[str, Any] = {
        "what": f"{TRAIN:,} uint8 images of 3x32x32, {len(loader)} batches of {BATCH}; "
        f"plain training steps of CIFAR ResNet-20, seed {SEED}",
        "batches": len(loader),
    }
    for name, setting in SETTINGS.items():
        torch.manual_seed(SEED)
        layout = setting.get("memory_format", torch.contiguous_format)
        step, _ = stepper(ResNetCifar(depth=20).to(memory_format=layout), None, **setting)
        batches, steps = "epoch of batches", f"{STEPS} steps"
        turns = {batches: whole, steps: partial(repeated, step, STEPS)}
        times = in_turns(turns, repeats)
        results[name] = {
            **times,
            "epoch of steps_s": round(times[steps]["median_s"] / STEPS * len(loader), 2),
            "batches / steps": share(times[batches], times[steps], len(loader)),
            "batches / steps, processor": share(
                times[batches]["processor"], times[steps]["processor"], len(loader)
            ),
        }
        print(name, {key: value for key, value in results[name].items() if key not in turns})
    each = len(loader)
    results["parts"] = in_turns(
        {
            "loader": lambda: epoch(loader, lambda images, _: images),
            "flip": partial(repeated, lambda: random_flip(some, seed=SEED), each),
            "shift": partial(repeated, lambda: random_shift(some, pixels=4, seed=SEED), each),
            "normalise": partial(repeated, lambda: (some - mean) / std, each),
        },
        repeats,
    )
    print({part: time["median_s"] for part, time in results["parts"].items()})
    print(write("data_pipeline", results))


if __name__ == "__main__":
    main()
