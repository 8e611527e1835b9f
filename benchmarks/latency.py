"""Latency: how well it is predicted over random plans, and whether a budget of it is met.

    python benchmarks/latency.py                       all networks and engines, one thread
    python benchmarks/latency.py resnet50 --engine eager --plans 5
    python benchmarks/latency.py vgg16 --batch 16 --parts macs_half macs_half_odd    a minute

Nothing else should run meanwhile; all of it takes an hour or two, and what is in
results/latency.json is not measured again (`--anew` does). Per network and engine: what was
predicted and measured for random plans of aligned widths, between a quarter and all of every axis;
then plans of `Macs(0.5)`, of the same with odd widths, with multiples of 8 and with steps as
measured, of `Latency(keep=0.5)`, and of as many MACs as that one has left without a look at time,
all by L1, with what they leave of the MACs and of the time on the wall.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

import harness
import widthwise as ww
from widthwise.cost.predictor import Predictor
from widthwise.latency import Setting, interleaved
from widthwise.latency.engines import Engine, random_inputs, ready
from widthwise.latency.meter import Machine
from widthwise.latency.steady import steady
from widthwise.models import resolve
from widthwise.search.limits import Limits, RoundTo

NETWORKS = {
    "resnet50": ("torchvision/resnet50", None),
    "vgg16": ("torchvision/vgg16_bn", None),
    "mobilenet_v2": ("torchvision/mobilenet_v2", None),
    "efficientnet_b0": ("torchvision/efficientnet_b0", None),
    "edsr": ("widthwise/edsr", (1, 3, 48, 48)),
    "resnet20": ("widthwise/resnet20", None),
}
"""MODEL and shape of the input; None for the network's own."""
Row = dict[str, Any]
"""Of the result file: what was measured of a network, in an engine, at a batch size."""
PARTS = (
    "predictions",
    "macs_half",
    "macs_half_odd",
    "macs_half_eights",
    "macs_half_measured_steps",
    "latency_half",
    "macs_alike",
)
LISTED = ("resnet50", "mobilenet_v2", "efficientnet_b0", "edsr", "vgg16")


def random_plan(graph: ww.ChannelGraph, generator: np.random.Generator) -> np.ndarray:
    """Draw a width for every free axis, from a quarter on, aligned by default."""
    kept = graph.everything.copy()
    for axis in Limits().axes(graph):
        widths = [w for w in Limits().widths(axis) if w >= axis.width / 4] or [axis.width]
        kept[axis.units.start + int(generator.choice(widths)) : axis.units.stop] = False
    return kept


def shares(
    full: torch.nn.Module, small: torch.nn.Module, graph: ww.ChannelGraph, setting: Setting
) -> float:
    """Time two networks in turns by the clock on the wall; return what the second takes of it."""
    inputs = random_inputs(graph.inputs, setting.batch)
    with steady(setting.threads):
        first, second = interleaved([ready(each, inputs, setting) for each in (full, small)])
    return second.median / first.median


def predictions(
    graph: ww.ChannelGraph, budget: ww.Latency, setting: Setting, plans: int
) -> dict[str, object]:
    """Predict and measure random plans."""
    start = time.perf_counter()
    full = budget.cost(graph, graph.everything)
    seconds = time.perf_counter() - start
    generator = np.random.default_rng(0)
    meter, inputs = Machine(setting), random_inputs(graph.inputs, setting.batch)
    pairs = []
    for _ in range(plans):
        kept = random_plan(graph, generator)
        (found,) = meter.networks([Predictor.network(graph, kept)], inputs)
        pairs.append((budget.cost(graph, kept), found))
    errors = [abs(predicted / found - 1) for predicted, found in pairs]
    return {
        "seconds_to_measure_tables": round(seconds, 1),
        "full_predicted_ms": round(full, 3),
        "median_error": round(statistics.median(errors), 4),
        "largest_error": round(max(errors), 4),
        "pairs_ms": [[round(predicted, 3), round(found, 3)] for predicted, found in pairs],
    }


def cut(
    model: torch.nn.Module,
    graph: ww.ChannelGraph,
    budget: ww.Macs | ww.Latency,
    setting: Setting,
    *,
    round_to: RoundTo = None,
) -> dict[str, object] | str:
    """Cut a network to a budget; return what that leaves, or why it cannot be met."""
    try:
        plan = ww.plan(graph, score=ww.scores.L1(), budget=budget, round_to=round_to)
    except ww.errors.BudgetError as error:
        return str(error).splitlines()[0]
    small = ww.shrink(model, plan, verify=False)
    return {
        "macs_kept": round(plan.macs() / plan.full_macs, 4),
        "time_kept": round(shares(model, small, graph, setting), 4),
        "latency": dict(plan.latency),
    }


def of_network(
    name: str, setting: Setting, parts: Sequence[str], plans: int, row: Row
) -> Iterator[None]:
    """Add to a row what it lacks, part by part."""
    model_name, shape = NETWORKS[name]
    spec = resolve(model_name)
    torch.manual_seed(0)
    model = spec.build().eval()
    graph = ww.trace(model, torch.zeros(shape or spec.input_shape))
    budget = ww.Latency(keep=0.5, engine=setting.engine, batch=setting.batch, threads=1)
    for part in parts:
        if part in row:
            continue
        match part:
            case "predictions":
                row[part] = predictions(graph, budget, setting, plans)
            case "macs_half":
                row[part] = cut(model, graph, ww.Macs(0.5), setting)
            case "macs_half_odd":
                row[part] = cut(model, graph, ww.Macs(0.5), setting, round_to=1)
            case "macs_half_eights":
                row[part] = cut(model, graph, ww.Macs(0.5), setting, round_to=8)
            case "macs_half_measured_steps":
                start = time.perf_counter()
                steps = budget.multiples(graph)
                row["seconds_to_measure_steps"] = round(time.perf_counter() - start, 1)
                row[part] = cut(model, graph, ww.Macs(0.5), setting, round_to=steps)
            case "latency_half":
                row[part] = cut(model, graph, budget, setting)
            case "macs_alike":
                halved = row.get("latency_half")
                if not isinstance(halved, dict):
                    continue
                row[part] = cut(model, graph, ww.Macs(halved["macs_kept"]), setting)
        yield


def main() -> None:
    """Measure, print a line each, and add it to benchmarks/results/latency.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=LISTED, metavar="NETWORK")
    parser.add_argument("--engine", action="append", choices=("eager", "onnxruntime"))
    parser.add_argument("--batch", type=int, action="append")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--plans", type=int, default=20)
    parser.add_argument("--anew", action="store_true", help="forget what was measured before")
    given = parser.parse_args()
    path = harness.RESULTS / "latency.json"
    known = path.exists() and not given.anew
    rows = json.loads(path.read_text())["results"]["rows"] if known else []
    for name in given.networks:
        for engine in given.engine or ("eager", "onnxruntime"):
            for batch in given.batch or (1, 16):
                key = {"network": name, "engine": engine, "batch": batch}
                row = next((each for each in rows if key.items() <= each.items()), None)
                if row is None:
                    rows.append(row := Row(key))
                setting = Setting(engine=Engine(engine), batch=batch, threads=1)
                for _ in of_network(name, setting, given.parts, given.plans, row):
                    harness.write("latency", {"rows": rows})
                print(row, flush=True)


if __name__ == "__main__":
    main()
