"""Run folders as a finished run leaves them, without the time it takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from widthwise.runs import write_file, write_json

FULL = {"conv1": 16, "layer1.0.conv1": 16, "layer2.0.conv1": 32, "layer3.0.conv1": 64, "fc": 10}
FOUND = {"conv1": 12, "layer1.0.conv1": 4, "layer2.0.conv1": 19, "layer3.0.conv1": 50, "fc": 10}
UNIFORM = {"conv1": 11, "layer1.0.conv1": 11, "layer2.0.conv1": 22, "layer3.0.conv1": 45, "fc": 10}
ACCURACIES = {"full": 0.985, "uniform": 0.945, "scratch": 0.973, "l1": 0.959}
ENVIRONMENT = {
    "command": "widthwise search digits --seed 3 <&>",
    "started": "2030-01-02T03:04:05+00:00",
    "widthwise": "0.1.0",
    "commit": None,
    "python": "3.11.2",
    "packages": {"torch": "2.11"},
    "system": "Linux",
    "processor": "A processor",
    "cores": 2,
    "threads": 2,
    "accelerator": None,
}


def deep_widths(blocks: int = 18) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Full, found and uniform widths of a bottleneck ResNet; 18 blocks a stage are ResNet-164."""
    full = {"conv1": 16}
    for stage, width in ((1, 16), (2, 32), (3, 64)):
        for block in range(blocks):
            path = f"layer{stage}.{block}"
            full |= {f"{path}.conv1": width, f"{path}.conv2": width}
            if block == 0:
                full[f"{path}.conv3"] = 4 * width
    found = {
        name: max(4, round(width * (0.62 + 0.36 * math.sin(1.7 * n) * math.cos(0.23 * n))))
        for n, (name, width) in enumerate(full.items())
    }
    uniform = {name: round(0.7 * width) for name, width in full.items()}
    return tuple({**widths, "fc": 10} for widths in (full, found, uniform))  # type: ignore[return-value]


def result(stage: str, accuracy: float, macs: int, widths: dict[str, int]) -> dict[str, Any]:
    """One row of the table of results."""
    return {
        "stage": stage,
        "weights": "inherited" if stage in ("search", "found", "l1") else "fresh",
        "accuracy": accuracy,
        "macs": macs,
        "params": macs // 10,
        "epochs": 4 if stage == "search" else 10,
        "seconds": 21.5,
        "widths": widths,
    }


def make_run(
    folder: Path,
    *,
    compare: Sequence[str] = ("full", "uniform"),
    searched: int = 4,
    latents: int | None = None,
    images: int = 450,
    seed: int = 3,
    accuracies: dict[str, float] | None = None,
    widths: tuple[dict[str, int], dict[str, int], dict[str, int]] = (FULL, FOUND, UNIFORM),
    data: str = "digits",
    old: bool = False,
) -> Path:
    """Write the files of a finished run.

    Args:
        folder: Where to.
        compare: Baselines it trained.
        searched: Epochs of the search; six more converge.
        latents: Epochs with latents; as many as were searched if not given.
        images: Test images.
        seed: Of the run.
        accuracies: Of stages whose accuracy is not that of `ACCURACIES`.
        widths: Of the full, the found and the uniform network.
        data: Name of the data set.
        old: Leave out what the first version did not write.

    Returns:
        The folder.
    """
    full, found, uniform = widths
    accuracy = {"found": 0.975, **ACCURACIES, **(accuracies or {})}
    costs = {"full": (2_532_992, full), "uniform": (1_200_000, uniform)}
    results = [
        result(stage, accuracy[stage], *costs.get(stage, (1_266_000, found)))
        for stage in ("found", *compare)
    ]
    for row in results:
        row["epochs"] = searched + 6
        row["params"] = 272_186 if row["stage"] == "full" else row["params"]
    config = {
        "model": {"name": "widthwise/resnet20", "options": {}},
        "data": {"name": data},
        "method": {"name": "dhp"},
        "budget": {"macs": 0.5},
        "compare": list(compare),
        "seed": seed,
    }
    write_file(folder / "config.yaml", yaml.safe_dump(config))
    write_json(folder / "environment.json", ENVIRONMENT)
    write_json(folder / "results.json", results)
    search = folder / "stages" / "search"
    costs_of_full = {"macs": 2_532_992, "params": 272_186, "widths": full}
    write_json(
        search / "result.json",
        {**result("search", 0.9, 1_266_000, found), "epochs": searched}
        | {"reached": True, "test_images": images}
        | {"full": {**costs_of_full, "frozen": {"fc": "output"}}},
    )
    write_json(
        search / "history.json",
        [
            {"step": 7 * n, "cost_fraction": 1 - n * n / 300, "excess": 0.5 - n * n / 300}
            for n in range(1, 13)
        ],
    )
    units = sum(full.values()) - 10
    for epoch in range(searched if latents is None else latents):
        sizes = [
            max(0.0, 2.5 * math.exp(-3 * n / units) - 1.2 * (epoch + 1) / searched)
            for n in range(units)
        ]
        write_json(search / "latents" / f"{epoch:04d}.json", sizes)
    write_file(folder / "metrics.csv", _metrics(accuracy, compare, searched, old=old))
    return folder


def _metrics(
    accuracy: dict[str, float], compare: Sequence[str], searched: int, *, old: bool
) -> str:
    lengths = {"search": searched, "found": 6}
    for stage in compare:
        lengths |= {"l1_train": searched, "l1": 6} if stage == "l1" else {stage: searched + 6}
    columns = ["stage", "epoch", "step", "lr", "train_loss", "test_loss", "test_accuracy"]
    columns += ["macs_fraction", *([] if old else ["params_fraction"]), "seconds"]
    lines = [",".join(columns)]
    for stage, epochs in lengths.items():
        last = accuracy.get(stage, 0.8)
        for epoch in range(epochs):
            reached = last - (last - 0.1) / (epoch + 1) ** 2
            done = (epoch + 1) / epochs
            shares = [1 - 0.45 * done, *([] if old else [1 - 0.6 * done**2])]
            cost = [f"{share:.4f}" if stage == "search" else "" for share in shares]
            values = [stage, epoch, 21 * (epoch + 1), 0.1, 0.5, 0.6, f"{reached:.4f}", *cost, 1.1]
            lines.append(",".join(map(str, values)))
    return "\n".join(lines) + "\n"
