"""Narrow backbones in a light tracker: found and trained on rendered clips, then let them track.

    python benchmarks/tracking.py --photographs DIR --regions DIR --clips DIR --runs DIR

Photographs and regions are those of BSDS500 (its `train` and `test` parts, and a human segmentation
of each); every fourth is kept for testing. Clips are annotated ones in any layout that
`widthwise.data.clip_layouts.open_clips` reads; nothing is trained or chosen on them. Runs of the
recipes below go on where they were stopped. Beside the networks: the same network untrained, a box
that never moves, and a plain correlation filter.

Also measured with the full network: held-out rendered clips without decoys (a large gain would mean
that the edges of pastes were learned) and on backgrounds of one colour (a large drop would mean
that surroundings were).

Frames per second are those of the whole tracker on one thread, crops included, in PyTorch and, with
the two exported parts of a network, in onnxruntime; in turns, medians.

Writes results/tracking.json.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

import widthwise as ww
from harness import arm_of, searched, write
from widthwise.data.clip_layouts import open_clips
from widthwise.data.clips import Clip
from widthwise.data.rendering.clips import render_clip
from widthwise.data.rendering.settings import RenderSettings
from widthwise.data.rendering.stills import stills_in
from widthwise.data.rendering.studio import Studio
from widthwise.export import to_onnx
from widthwise.models.siamese import SiameseTracker
from widthwise.tracking.correlation import CorrelationFilter
from widthwise.tracking.measures import OTB
from widthwise.tracking.onnx_parts import OnnxParts
from widthwise.tracking.running import Still, Tracker, run_tracker
from widthwise.tracking.siamese import Siamese

RECIPES = ("dhp50", "dhp25", "lw_dna")
ARMS = {
    "full": ("dhp50", "full"),
    "DHP 50 %": ("dhp50", "found"),
    "DHP 50 %, fresh weights": ("dhp50", "scratch"),
    "uniform 50 %": ("dhp50", "uniform"),
    "DHP 25 %": ("dhp25", "found"),
    "DHP 25 %, fresh weights": ("dhp25", "scratch"),
    "uniform 25 %": ("dhp25", "uniform"),
    "LW-DNA": ("lw_dna", "found"),
}
"""What to call a network -> recipe and stage of its run."""
CLIPS, LENGTH, CLIP_SEED = 24, 80, 1
"""Rendered clips to judge by: other scenes than those that runs measure after every epoch."""
ROUNDS = 7


def judged(make: Callable[[], Tracker], clips: Sequence[Clip]) -> dict[str, Any]:
    """Run a tracker over clips; scores in percent by the rules of OTB, and by clip."""
    each = {}
    for clip in clips:
        boxes = run_tracker(make(), clip.frames(), clip.boxes[0]).boxes
        each[clip.name] = OTB.judge(boxes, clip.boxes, absent=clip.absent, size=clip.size)
    scores = OTB.summary(list(each.values()))
    return {
        "auc": round(100 * scores.auc, 2),
        "precision": round(100 * scores.precision, 2),
        "auc_by_clip": {name: round(100 * one.scores.auc, 1) for name, one in each.items()},
    }


def speeds(makers: dict[str, Callable[[], Tracker]], clip: Clip) -> dict[str, dict[str, float]]:
    """Frames per second of trackers, in turns."""
    measured: dict[str, list[float]] = {name: [] for name in makers}
    for _ in range(ROUNDS):
        for name, make in makers.items():
            track = run_tracker(make(), clip.frames(), clip.boxes[0])
            measured[name].append(track.frames_per_second)
    return {
        name: {
            "median": round(statistics.median(values), 1),
            "lowest": round(min(values), 1),
            "highest": round(max(values), 1),
        }
        for name, values in measured.items()
    }


def rendered(given: argparse.Namespace, settings: RenderSettings) -> list[Clip]:
    """Clips of the photographs that are kept for testing."""
    studio = Studio(stills_in(given.photographs, "test", regions=given.regions), settings)
    return [render_clip(studio, CLIP_SEED, number, length=LENGTH) for number in range(CLIPS)]


def network_of(folder: Path, stage: str) -> nn.Module:
    """The trained network of a stage."""
    return ww.load(folder / "stages" / stage, SiameseTracker).eval()


def in_onnxruntime(network: nn.Module, folder: Path) -> Callable[[], Tracker]:
    """Export both parts of a network; return what makes a tracker of them."""
    files = []
    for name, part in network.parts().items():  # type: ignore[operator]
        files.append(folder / f"{name}.onnx")
        to_onnx(part.module, dict(part.inputs), files[-1], unbatched=part.unbatched)
    halves = OnnxParts(*files)
    return lambda: Siamese(halves)


def spread(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    """Mean and standard deviation over seeds of a score."""
    values = [row[key]["auc"] for row in rows]
    return {
        "mean": round(statistics.mean(values), 2),
        "deviation": round(statistics.stdev(values), 2) if len(values) > 1 else None,
        "seeds": len(values),
    }


def main() -> None:
    """Search, judge, time and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("photographs", "regions", "clips", "runs"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    given = parser.parse_args()
    data = ["--task.photographs", str(given.photographs), "--task.regions", str(given.regions)]
    folders = {
        (recipe, seed): searched(
            f"bsds_siamese_{recipe}",
            given.runs / f"{recipe}-{seed}",
            ["--seed", str(seed), *data],
        )
        for seed in given.seeds
        for recipe in RECIPES
    }
    torch.set_num_threads(1)
    usual = RenderSettings()
    sets = {"rendered": rendered(given, usual), "real": list(open_clips(given.clips))}
    checks = {
        "without decoys": rendered(given, replace(usual, decoys=False)),
        "plain backgrounds": rendered(given, replace(usual, plain=True)),
    }
    torch.manual_seed(0)
    untrained = SiameseTracker().eval()
    rivals: dict[str, Callable[[], Tracker]] = {
        "box that never moves": Still,
        "untrained": lambda: Siamese(untrained),
        "correlation filter": CorrelationFilter,
    }
    results: dict[str, Any] = {
        "rivals": {
            name: {place: judged(make, clips) for place, clips in sets.items()}
            for name, make in rivals.items()
        }
    }
    networks: dict[str, list[dict[str, Any]]] = {}
    makers = dict(rivals)
    for name, (recipe, stage) in ARMS.items():
        for seed in given.seeds:
            network = network_of(folders[recipe, seed], stage)
            arm = arm_of(folders[recipe, seed], stage)

            def make(network: Any = network) -> Tracker:
                return Siamese(network)

            row: dict[str, Any] = {
                "seed": seed,
                **{key: arm[key] for key in ("macs", "params", "widths", "epochs", "seconds")},
                **{place: judged(make, clips) for place, clips in sets.items()},
            }
            if name == "full":
                row |= {place: judged(make, clips) for place, clips in checks.items()}
            networks.setdefault(name, []).append(row)
            makers.setdefault(name, make)
            print(name, seed, {key: row[key]["auc"] for key in sets}, flush=True)
    results["networks"] = networks
    results["spread"] = {
        name: {place: spread(rows, place) for place in rows[0] if place in {**sets, **checks}}
        for name, rows in networks.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (recipe, stage)) in enumerate(ARMS.items()):
            place = Path(folder) / str(number)
            place.mkdir()
            network = network_of(folders[recipe, given.seeds[0]], stage)
            makers[f"{name}, onnxruntime"] = in_onnxruntime(network, place)
        results["frames_per_second"] = speeds(makers, sets["rendered"][0])
    results["clips"] = {
        "rendered": f"{CLIPS} of {LENGTH} frames",
        "real": [clip.name for clip in sets["real"]],
    }
    print(write("tracking", results))


if __name__ == "__main__":
    main()
