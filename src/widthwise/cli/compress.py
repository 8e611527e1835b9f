"""``widthwise compress MODEL --weights FILE --data FOLDER --budget macs=0.6``: cut and healed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from widthwise.cli import VERBS
from widthwise.cli._budget import add_budget_argument
from widthwise.cli._data import add_data_arguments, input_of, read_samples
from widthwise.cli._model import add_model_arguments, build_model
from widthwise.cli.plan import add_limit_arguments
from widthwise.errors import ConfigError

if TYPE_CHECKING:
    from widthwise.data.samples import Samples

_CHANCE = 0.15
"""Of the way from guessing to always being right; a trained network is further along."""


def run(arguments: Sequence[str]) -> int:
    """Compress a trained network and write a folder with what came of it.

    Args:
        arguments: What follows the verb.

    Returns:
        Exit code.
    """
    from widthwise.compression.compress import STEPS
    from widthwise.cost import read_budget
    from widthwise.models import resolve

    given = _parser(STEPS).parse_args(arguments)
    out = given.out or Path(f"{Path(given.model.replace(':', '/')).name}-compressed")
    if (out / "plan.json").exists() and not given.replace:
        raise ConfigError(
            f"`{out}` holds a network already.\nHint: give another --out, or --replace it."
        )
    spec = resolve(given.model)
    if given.weights is None and not spec.has_weights:
        raise ConfigError(
            f"`{given.model}` would be compressed with fresh random weights.\n"
            "Hint: give the trained ones with --weights FILE."
        )
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from widthwise.recipes.compression import Order, compress_into, judged_of
    from widthwise.search.limits import Limits

    model, example = build_model(spec, shape=input_of(given, spec), weights=given.weights)
    samples = read_samples(given, spec, example, judged_of(given.images))
    order = Order(
        model=given.model,
        budgets=[read_budget(kind, limit) for kind, limit in given.budget],
        stop_at=given.stop_at,
        limits=Limits(
            min_width=given.min_width,
            round_to=given.round_to,
            include=given.include,
            exclude=given.exclude,
        ),
        steps=given.steps,
    )
    with Progress(
        TextColumn("{task.description:<44}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    ) as bars:
        task = bars.add_task("trace", total=None)
        results = compress_into(
            out,
            order,
            model,
            samples,
            lambda done, total, what: bars.update(
                task, description=what[:44], completed=done, total=total
            ),
        )
        bars.update(task, description="done", completed=bars.tasks[0].total)
    print(_summary(results))
    print(_inputs(samples))
    if _hardly_knows(results, len(samples.classes)):
        print(
            "\nNote: on these images the full network is hardly better than chance. Were they of "
            "another size in training, or scaled otherwise? See --input, --mean and --std."
        )
    print(f"\nSaved to {out}: plan.json, model.safetensors, results.json, report.html")
    return 0


def _summary(results: Mapping[str, Any]) -> str:
    from widthwise.plans.text import timing

    macs, params, times = results["macs"], results["params"], results["milliseconds"]
    lines = [
        f"MACs        {macs['narrow']:,} of {macs['full']:,} ({macs['narrow'] / macs['full']:.1%})",
        f"parameters  {params['narrow']:,} of {params['full']:,} "
        f"({params['narrow'] / params['full']:.1%})",
        f"latency     {times['narrow']:.2f} of {times['full']:.2f} ms (one image, PyTorch)",
    ]
    if times["narrow"] > times["full"]:
        lines[-1] += "; the cut has made it slower"
    if results["latency"]:
        lines.append(f"budget      {timing(results['latency'])}")
    judged = f"on {results['images']['judged']:,} images that nothing was decided on"
    if results["agreement"] is not None:
        cut, narrow = results["agreement"]["cut"], results["agreement"]["narrow"]
        lines.append(f"agreement   {narrow:.1%}, without healing {cut:.1%}, {judged}")
    if results["accuracy"] is not None:
        full, cut, narrow = (results["accuracy"][name] for name in ("full", "cut", "narrow"))
        lines.append(
            f"accuracy    {narrow:.1%}, without healing {cut:.1%}, full network {full:.1%}, "
            f"{judged}"
        )
    return "\n".join(lines)


def _inputs(samples: Samples) -> str:
    _, *shape = samples.images.shape
    mean, std = (
        ", ".join(f"{value / 255:.3g}" for value in values)
        for values in (samples.mean, samples.std)
    )
    return f"inputs      {'x'.join(map(str, shape))}, mean {mean}, deviation {std}"


def _hardly_knows(results: Mapping[str, Any], classes: int) -> bool:
    accuracy = results["accuracy"]
    return bool(accuracy) and accuracy["full"] < 1 / classes + _CHANCE * (1 - 1 / classes)


def _parser(steps: int) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="widthwise compress",
        description=VERBS["compress"],
        epilog="No labels and no loss of a task: widths are decided by what narrowing each layer "
        "costs, measured on the images, and what is left is refitted layer by layer, then refined "
        "as a whole.",
    )
    add_model_arguments(parser)
    add_data_arguments(parser, required=True)
    goal = parser.add_mutually_exclusive_group(required=True)
    add_budget_argument(goal, "what the result may cost at most")
    goal.add_argument(
        "--stop-at",
        metavar="PROMISE",
        help="the smallest network that keeps a promise: 'agreement>=0.95'",
    )
    parser.add_argument(
        "--steps",
        metavar="N",
        type=int,
        default=steps,
        help="gradient steps that refine the result, without labels (default: %(default)s; 0 for "
        "none)",
    )
    add_limit_arguments(parser)
    parser.add_argument(
        "--out", metavar="DIR", type=Path, help="a folder (default: MODEL-compressed)"
    )
    parser.add_argument("--replace", action="store_true", help="write over what DIR holds")
    return parser
