"""Train the networks that cuts are compared on: good accuracy on CIFAR-10 in a short schedule.

The last 5,000 training images are held out: plans are chosen on them, and no parent has seen them.

    python benchmarks/parents.py resnet20 --seeds 0 1 2 --data DIR --out DIR

Writes NETWORK-SEED.safetensors with the accuracy in its header, and resumes where it was stopped.
On a GPU (`--device cuda`) a step is captured once and replayed, since launching its kernels takes
longer than they do.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from speed_record import SpeedRecord
from widthwise.data.arrays import ImageClasses
from widthwise.data.augment import random_flip, random_shift
from widthwise.data.batches import derived_seed
from widthwise.data.cifar import load_cifar10
from widthwise.data.source import Source
from widthwise.models import resolve

Backward = Callable[[Tensor, Tensor], None]
"""Leaves the gradients of a batch and its classes in the parameters."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of a batch's scores in float32, its classes and its images."""

HELD_OUT = 5_000
BATCH = 256
PEAK = 0.4
PEAKS = {"vgg16_bn": 0.1, "mobilenet_v2": 0.2, "speed_record": 0.2}
"""Largest learning rates of the networks that `PEAK` is too large for."""
OPTIONS: dict[str, dict[str, Any]] = {"mobilenet_v2": {"image_size": 32}}
WARM_UP = 0.2
SHIFTED = 4
SMOOTHING = 0.1
WEIGHT_DECAY = 5e-4
WHITENED = 5_000
"""Images whose patches are whitened."""
TEMPERATURE = 4.0
"""Of the answers that a teacher gives."""


def normalised(images: Tensor, data: ImageClasses) -> Tensor:
    """Scale uint8 images as the networks see them."""
    mean = torch.tensor(data.mean, device=images.device).reshape(1, -1, 1, 1)
    std = torch.tensor(data.std, device=images.device).reshape(1, -1, 1, 1)
    return ((images.float() - mean) / std).contiguous(memory_format=torch.channels_last)


def accuracy(network: nn.Module, images: Tensor, labels: Tensor, data: ImageClasses) -> float:
    """Measure the share of right answers in percent, in evaluation mode."""
    network.eval()
    right = 0
    with torch.inference_mode(), torch.autocast(images.device.type, torch.bfloat16):
        for chosen in torch.arange(len(images)).split(500):
            scores = network(normalised(images[chosen], data))
            right += int((scores.argmax(1) == labels[chosen]).sum())
    return 100 * right / len(images)


def rate(step: int, steps: int, peak: float) -> float:
    """Compute the learning rate: up to the peak in a straight line, and down to zero."""
    up = WARM_UP * steps
    return peak * min(step / up, (steps - step) / (steps - up))


def smoothed(scores: Tensor, classes: Tensor, images: Tensor) -> Tensor:
    """Return what the parents are trained by."""
    return functional.cross_entropy(scores, classes, label_smoothing=SMOOTHING)


def taught(teacher: nn.Module, share: float) -> Loss:
    """Return a loss, a share of which is the distance from the answers of another network.

    Args:
        teacher: The other network; not changed.
        share: From 0 to 1; what is left is `smoothed`.

    Returns:
        The loss, for `fit`.
    """
    teacher = copy.deepcopy(teacher).eval().requires_grad_(False)
    answers: Callable[[Tensor], Tensor] = torch.compile(teacher)

    def loss_of(scores: Tensor, classes: Tensor, images: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(images.device.type, torch.bfloat16):
            wanted = answers(images)
        distance = functional.kl_div(
            functional.log_softmax(scores / TEMPERATURE, 1),
            functional.log_softmax(wanted.float() / TEMPERATURE, 1),
            log_target=True,
            reduction="batchmean",
        )
        plain = smoothed(scores, classes, images)
        return (1 - share) * plain + share * TEMPERATURE**2 * distance

    return loss_of


def fit(
    network: nn.Module,
    data: ImageClasses,
    *,
    epochs: int,
    seed: int,
    peak: float = PEAK,
    batch_size: int = BATCH,
    loss_of: Loss = smoothed,
    pixels: int = SHIFTED,
    state: dict[str, Any] | None = None,
    after: Callable[[dict[str, Any]], object] = lambda state: None,
) -> None:
    """Train a network on all training images but those that are held out.

    Args:
        network: Trained in place.
        data: CIFAR-10.
        epochs: How many in all.
        seed: Of order and augmentation.
        peak: Largest learning rate.
        batch_size: Images of a step.
        loss_of: What is made small.
        pixels: How far images are shifted at most.
        state: What `after` was given last, to go on from there.
        after: Called after each epoch, with the state.
    """
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=peak, momentum=0.9, nesterov=True, weight_decay=WEIGHT_DECAY
    )
    if state is not None:
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
    images = data.train.images[:-HELD_OUT]
    labels = data.train.labels[:-HELD_OUT]
    compute = network if images.is_cuda else torch.compile(network)

    def backward(batch: Tensor, classes: Tensor) -> None:
        # Inside a recorded step, weights cast once would be kept from one replay to the next.
        with torch.autocast(batch.device.type, torch.bfloat16, cache_enabled=not batch.is_cuda):
            scores = compute(batch)
        network.zero_grad()
        loss_of(scores.float(), classes, batch).backward()

    network.train()
    if images.is_cuda:
        backward = captured(
            backward, network, normalised(images[:batch_size], data), labels[:batch_size]
        )
    per_epoch = len(images) // batch_size
    for epoch in range(0 if state is None else state["epoch"], epochs):
        network.train()
        order = torch.randperm(
            len(images), generator=torch.Generator().manual_seed(derived_seed(seed, epoch))
        ).to(images.device)
        for number, chosen in enumerate(order[: per_epoch * batch_size].split(batch_size)):
            drawn = derived_seed(seed, epoch, number)
            batch = random_flip(
                random_shift(images[chosen], pixels=pixels, seed=drawn), seed=drawn + 1
            )
            for group in optimizer.param_groups:
                group["lr"] = rate(epoch * per_epoch + number + 1, epochs * per_epoch + 1, peak)
            backward(normalised(batch, data), labels[chosen])
            optimizer.step()
        after(
            {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "epoch": epoch + 1,
            }
        )


def captured(backward: Backward, network: nn.Module, images: Tensor, labels: Tensor) -> Backward:
    """Record what `backward` starts on the GPU for one batch, to be replayed for any other."""
    before = copy.deepcopy(network.state_dict())
    apart = torch.cuda.Stream()
    apart.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(apart):
        for _ in range(3):
            backward(images, labels)
    torch.cuda.current_stream().wait_stream(apart)
    graph = torch.cuda.CUDAGraph()
    images, labels = images.clone(), labels.clone()
    with torch.cuda.graph(graph):
        backward(images, labels)
    network.load_state_dict(before)

    def replay(given: Tensor, classes: Tensor) -> None:
        images.copy_(given)
        labels.copy_(classes)
        graph.replay()

    return replay


def fresh(name: str) -> nn.Module:
    """Build a network of `widthwise.models`, or the record's, for images of 32 by 32."""
    if name == "speed_record":
        return SpeedRecord()
    return resolve(f"widthwise/{name}").build(**OPTIONS.get(name, {}))


def prepare(network: nn.Module, data: ImageClasses) -> None:
    """Give a network with fresh weights what it reads from the images before it is trained."""
    if isinstance(network, SpeedRecord):
        network.set_whitening(normalised(data.train.images[:WHITENED], data))


def on(device: torch.device, data: ImageClasses) -> ImageClasses:
    """Put images and labels on a device."""
    train, test = (
        dataclasses.replace(split, images=split.images.to(device), labels=split.labels.to(device))
        for split in (data.train, data.test)
    )
    return dataclasses.replace(data, train=train, test=test)


def train(name: str, seed: int, epochs: int, data: ImageClasses, out: Path) -> None:
    """Train one network from where it stands."""
    path = out / f"{name}-{seed}.safetensors"
    if path.exists():
        return
    torch.manual_seed(seed)
    network = fresh(name).to(data.train.images.device)
    prepare(network, data)
    half_way = path.with_suffix(".pt")
    start = time.perf_counter()

    def save(state: dict[str, Any]) -> None:
        torch.save(state, half_way.with_suffix(".tmp"))
        half_way.with_suffix(".tmp").replace(half_way)
        seconds = time.perf_counter() - start
        print(f"{name} {seed}: {state['epoch']} epochs, {seconds:.0f} s", flush=True)

    state = torch.load(half_way) if half_way.exists() else None
    peak = PEAKS.get(name, PEAK)
    fit(network, data, epochs=epochs, seed=seed, peak=peak, state=state, after=save)
    facts = {
        "held_out": accuracy(
            network,
            data.train.images[-HELD_OUT:],
            data.train.labels[-HELD_OUT:],
            data,
        ),
        "test": accuracy(
            network,
            data.test.images,
            data.test.labels,
            data,
        ),
        "epochs": epochs,
        "seed": seed,
    }
    weights = {key: value.contiguous().cpu() for key, value in network.state_dict().items()}
    safetensors.torch.save_file(weights, path, metadata={"facts": json.dumps(facts)})
    half_way.unlink(missing_ok=True)
    print(name, facts, flush=True)


def main() -> None:
    """Train every network that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    data = on(given.device, load_cifar10(Source(folder=given.data)))
    torch.backends.cudnn.benchmark = True
    for seed in given.seeds:
        train(given.network, seed, given.epochs, data, given.out)


if __name__ == "__main__":
    main()
