"""Run folders as a finished run leaves them, without the time it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from widthwise.measures import Measure
from widthwise.runs import write_file, write_json
from widthwise.runs.results import ArmResult, Before, FullNetwork, Results

FULL = {"conv1": 16, "layer1.0.conv1": 16, "layer2.0.conv1": 32, "layer3.0.conv1": 64, "fc": 10}
FOUND = {"conv1": 12, "layer1.0.conv1": 4, "layer2.0.conv1": 19, "layer3.0.conv1": 50, "fc": 10}
UNIFORM = {"conv1": 11, "layer1.0.conv1": 11, "layer2.0.conv1": 22, "layer3.0.conv1": 45, "fc": 10}
ACCURACY = Measure(name="accuracy", title="test accuracy", unit="%", scale=100, is_share=True)
PSNR = Measure(name="psnr", title="PSNR", unit="dB", digits=2)
VALUES = {"found": 0.975, "full": 0.985, "uniform": 0.945, "scratch": 0.973, "l1": 0.959}
TITLES = {
    "found": ("Found widths", "the found network"),
    "full": ("Full network", "the full network"),
    "uniform": ("Uniform widths", "uniform widths at the same MACs"),
    "scratch": ("Found widths, fresh weights", "the same widths with fresh weights"),
    "l1": ("L1 magnitude, one shot", "a one-shot cut by L1 magnitude"),
}
ALL = tuple(name for name in TITLES if name != "found")
"""Every arm that a recipe can compare with."""
BEFORE = {"found": ("search", "search"), "l1": ("l1_train", "before")}
"""Arm -> the stage before its cut, and what that is called."""
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


def make_run(
    folder: Path,
    *,
    arms: Sequence[str] = ("full", "uniform"),
    searched: int = 4,
    curves: int | None = None,
    reached: bool | None = True,
    deciding: float = 0.0,
    items: int = 450,
    seed: int = 3,
    values: Mapping[str, float] | None = None,
    measures: Sequence[Measure] = (ACCURACY,),
    widths: tuple[dict[str, int], dict[str, int], dict[str, int]] = (FULL, FOUND, UNIFORM),
    data: str = "digits",
    teacher: str | None = None,
) -> Path:
    """Write the files of a finished run.

    Args:
        folder: Where to.
        arms: What it trained besides the found network.
        searched: Epochs of the search, 0 for a method without one; six more converge.
        curves: Epochs with importance; as many as were searched if not given.
        reached: Whether the search has reached its budget; None for a method that decides later.
        deciding: Seconds of that.
        items: Test items.
        seed: Of the run.
        values: Of arms whose measures are not those of `VALUES`; each measure has the same.
        measures: What was measured.
        widths: Of the full, the found and the uniform network.
        data: Name of the data set.
        teacher: Arm that the others were distilled from.

    Returns:
        The folder.
    """
    full, found, uniform = widths
    known = {**VALUES, **(values or {})}
    costs = {"full": (2_532_992, full), "uniform": (1_200_000, uniform)}
    rows = []
    for arm in ("found", *arms):
        macs, kept = costs.get(arm, (1_266_000, found))
        title, words = TITLES[arm]
        stage = BEFORE.get(arm) if searched else None
        before = None
        if stage is not None:
            before = Before(
                stage=stage[0],
                title=stage[1],
                epochs=searched,
                reached=reached if arm == "found" else None,
                deciding=deciding if arm == "found" else 0.0,
            )
        rows.append(
            ArmResult(
                arm=arm,
                title=title,
                words=words,
                weights="fresh" if before is None else "inherited",
                measures={measure.name: known[arm] for measure in measures},
                macs=macs,
                params=272_186 if arm == "full" else macs // 10,
                epochs=searched + 6,
                seconds=21.5,
                widths=kept,
                before=before,
                teacher=None if arm == teacher else teacher,
            )
        )
    results = Results(
        task="classification",
        measures=tuple(measures),
        test_items=items,
        full=FullNetwork(macs=2_532_992, params=272_186, widths=full, frozen={"fc": "output"}),
        arms=tuple(rows),
    )
    config = {
        "model": {"name": "widthwise/resnet20", "options": {}},
        "task": {"name": "classification", "dataset": data},
        "method": {"name": "dhp"},
        "budget": {"macs": 0.5},
        "converge": {"distil": 0.4, "temperature": 4.0},
        "arms": list(arms),
        "seed": seed,
    }
    write_file(folder / "config.yaml", yaml.safe_dump(config))
    write_json(folder / "environment.json", ENVIRONMENT)
    write_json(folder / "facts.json", {"data": data, "classes": ["no", "yes"], "mean": [0.0]})
    write_json(folder / "results.json", results.to_spec())
    _write_search(folder / "stages" / "search", full, searched, curves)
    write_file(folder / "metrics.csv", _metrics(known, arms, searched, measures))
    return folder


def _write_search(stage: Path, full: dict[str, int], searched: int, curves: int | None) -> None:
    if not searched:
        return
    write_json(
        stage / "history.json",
        [
            {"step": 7 * n, "cost_fraction": 1 - n * n / 300, "excess": 0.5 - n * n / 300}
            for n in range(1, 13)
        ],
    )
    units = sum(full.values()) - 10
    for epoch in range(searched if curves is None else curves):
        sizes = [
            max(0.0, 2.5 * math.exp(-3 * n / 100) - 1.2 * (epoch + 1) / searched)
            for n in range(100)
        ]
        write_json(stage / "importance" / f"{epoch:04d}.json", {"units": units, "values": sizes})


def _metrics(
    known: Mapping[str, float], arms: Sequence[str], searched: int, measures: Sequence[Measure]
) -> str:
    lengths = {"search": searched, "found": 6}
    for arm in arms:
        lengths |= {"l1_train": searched, "l1": 6} if arm == "l1" else {arm: searched + 6}
    columns = ["stage", "epoch", "step", "lr", "train_loss", "test_loss"]
    columns += [f"test_{measure.name}" for measure in measures]
    columns += ["macs_fraction", "params_fraction", "seconds"]
    lines = [",".join(columns)]
    for stage, epochs in lengths.items():
        last = known.get(stage, 0.8)
        for epoch in range(epochs):
            reached = last - (last - 0.1) / (epoch + 1) ** 2
            done = (epoch + 1) / epochs
            shares = [1 - 0.45 * done, 1 - 0.6 * done**2]
            cost = [f"{share:.4f}" if stage == "search" else "" for share in shares]
            measured = [f"{reached:.4f}" for _ in measures]
            values = [stage, epoch, 21 * (epoch + 1), 0.1, 0.5, 0.6, *measured, *cost, 1.1]
            lines.append(",".join(map(str, values)))
    return "\n".join(lines) + "\n"
