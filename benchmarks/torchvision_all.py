"""Trace, plan at half the MACs, shrink and prove torchvision networks; writes a table of them.

Run `python benchmarks/torchvision_all.py` for all classification networks (half an hour and about
12 GB on one core), or name some: `python benchmarks/torchvision_all.py resnet50 vit_b_16`.
The tests use `check` on the same networks.
"""

from __future__ import annotations

import gc
import sys
import time
from dataclasses import asdict, dataclass

import torch
import torchvision
from torch import nn

import widthwise as ww
from harness import write
from widthwise.shrinking.proof import prove

BUDGET = 0.5


def all_names() -> list[str]:
    """Names of every classification network of torchvision."""
    return torchvision.models.list_models(module=torchvision.models)


@dataclass(frozen=True)
class Row:
    """What happened to one network."""

    name: str
    trace_s: float
    plan_s: float
    shrink_s: float
    """Without the proof."""
    axes: int
    frozen_share: float
    """Units that no plan may touch, of all units."""
    full_macs: int
    kept_macs: float
    """Share of the full MACs after the plan."""
    proof_error: float
    """Largest difference between the shrunk and the masked network, relative to the output."""


def build(name: str) -> tuple[nn.Module, torch.Tensor]:
    """Build a network with random weights, and an image for it."""
    # These two would otherwise run a slow initialisation and warn that they do.
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    size = 299 if name == "inception_v3" else 224
    return model, torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))


def check(name: str) -> Row:
    """Take one network through trace, plan, shrink and proof.

    Args:
        name: A torchvision name, such as "resnet50".

    Returns:
        The measurements. A step that fails raises its own error.
    """
    model, image = build(name)
    clock = [time.perf_counter()]
    graph = ww.trace(model, image)
    clock.append(time.perf_counter())
    plan = ww.plan(graph, score=ww.scores.L1(), budget=ww.Macs(BUDGET))
    clock.append(time.perf_counter())
    small = ww.shrink(model, plan, verify=False)
    clock.append(time.perf_counter())
    frozen = sum(axis.width for axis in graph.axes.values() if axis.frozen is not None)
    return Row(
        name=name,
        trace_s=round(clock[1] - clock[0], 3),
        plan_s=round(clock[2] - clock[1], 3),
        shrink_s=round(clock[3] - clock[2], 3),
        axes=len(graph.axes),
        frozen_share=round(frozen / graph.unit_count, 4),
        full_macs=graph.macs(),
        kept_macs=round(plan.macs() / graph.macs(), 4),
        proof_error=prove(model, small, graph, plan.mask(graph)).error,
    )


def table(rows: list[Row]) -> str:
    """Lay rows out as a Markdown table."""
    lines = [
        "| network | trace s | plan s | shrink s | axes | frozen | MACs | kept | proof error |",
        "|---|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {r.name} | {r.trace_s:.2f} | {r.plan_s:.2f} | {r.shrink_s:.2f} | {r.axes} | "
        f"{r.frozen_share:.0%} | {r.full_macs / 1e6:,.0f} M | {r.kept_macs:.2%} | "
        f"{r.proof_error:.1e} |"
        for r in rows
    ]
    return "\n".join(lines)


def main() -> int:
    """Check the networks named on the command line, or all; returns the number that failed."""
    torch.set_num_threads(1)
    rows, failures = [], {}
    for name in sys.argv[1:] or all_names():
        try:
            rows.append(check(name))
            print(table(rows[-1:]).splitlines()[-1], flush=True)
        except Exception as error:
            failures[name] = f"{type(error).__name__}: {error}"
            print(f"| {name} | {failures[name]} |", flush=True)
        gc.collect()
    print(table(rows))
    if not sys.argv[1:]:
        results = {"budget": BUDGET, "rows": [asdict(r) for r in rows], "failures": failures}
        path = write("torchvision", results)
        path.with_suffix(".md").write_text(table(rows) + "\n", encoding="utf-8")
        print(f"written: {path}")
    return len(failures)


if __name__ == "__main__":
    sys.exit(main())
