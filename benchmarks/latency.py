"""Latency: how well it is predicted over random plans, and whether a budget of it is met.

    python benchmarks/latency.py                       all networks and engines, one thread
    python benchmarks/latency.py resnet50 --engine eager --plans 5

Nothing else should run meanwhile; all of it takes an hour or two, and a row that is in
results/latency.json is not measured again (`--anew` does). Per network and engine: what was
predicted and measured for random plans of aligned widths, between a quarter and all of every axis;
then plans of `Macs(0.5)`, of the same with odd widths and with steps as measured, and of
`Latency(keep=0.5)`, all by L1, with what they leave of the MACs and of the time on the wall.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

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
from widthwise.search.limits import Limits

NETWORKS = {
    "resnet50": ("torchvision/resnet50", None),
    "vgg16": ("torchvision/vgg16_bn", None),
    "mobilenet_v2": ("torchvision/mobilenet_v2", None),
    "efficientnet_b0": ("torchvision/efficientnet_b0", None),
    "edsr": ("widthwise/edsr", (1, 3, 48, 48)),
    "resnet20": ("widthwise/resnet20", None),
}
"""MODEL and shape of the input; None for the network's own."""
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


def of_network(name: str, setting: Setting, plans: int) -> dict[str, object]:
    """Predict and measure one network in one engine."""
    model_name, shape = NETWORKS[name]
    spec = resolve(model_name)
    torch.manual_seed(0)
    model = spec.build().eval()
    graph = ww.trace(model, torch.zeros(shape or spec.input_shape))
    budget = ww.Latency(keep=0.5, engine=setting.engine, batch=setting.batch, threads=1)
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
    row: dict[str, object] = {
        "network": name,
        "engine": setting.engine.value,
        "batch": setting.batch,
        "seconds_to_measure_tables": round(seconds, 1),
        "full_predicted_ms": round(full, 3),
        "median_error": round(statistics.median(errors), 4),
        "largest_error": round(max(errors), 4),
        "pairs_ms": [[round(predicted, 3), round(found, 3)] for predicted, found in pairs],
    }
    start = time.perf_counter()
    steps = budget.multiples(graph)
    row["seconds_to_measure_steps"] = round(time.perf_counter() - start, 1)
    for title, wanted, round_to in (
        ("macs_half", ww.Macs(0.5), None),
        ("macs_half_odd", ww.Macs(0.5), 1),
        ("macs_half_measured_steps", ww.Macs(0.5), steps),
        ("latency_half", budget, None),
    ):
        try:
            plan = ww.plan(graph, score=ww.scores.L1(), budget=wanted, round_to=round_to)
        except ww.errors.BudgetError as error:
            row[title] = str(error).splitlines()[0]
            continue
        small = ww.shrink(model, plan, verify=False)
        row[title] = {
            "macs_kept": round(plan.macs() / plan.full_macs, 4),
            "time_kept": round(shares(model, small, graph, setting), 4),
            "latency": dict(plan.latency),
        }
    return row


def main() -> None:
    """Measure, print a line each, and add it to benchmarks/results/latency.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("networks", nargs="*", default=LISTED, metavar="NETWORK")
    parser.add_argument("--engine", action="append", choices=("eager", "onnxruntime"))
    parser.add_argument("--batch", type=int, action="append")
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
                if any(key.items() <= row.items() for row in rows):
                    continue
                setting = Setting(engine=Engine(engine), batch=batch, threads=1)
                rows.append(of_network(name, setting, given.plans))
                shown = {key: value for key, value in rows[-1].items() if key != "pairs_ms"}
                print(shown, flush=True)
                harness.write("latency", {"rows": rows})


if __name__ == "__main__":
    main()
